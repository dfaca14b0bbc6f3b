/* The curve walk: forward adds edges to outputs, backward adds outputs to the segments of edges. */

/* Where some lanes of the outputs are: `length` of them at `place`, from `lane` of the block on. */
#define FOR_RUNS(walk, low, run, first, last)                                                                  \
    for (Py_ssize_t run = NAME(run_of)(walk, low), first, last;                                                \
         run < (walk)->run_count && (walk)->runs[3 * run] < (low) + (walk)->block; run++)                        \
        if (first = (walk)->runs[3 * run] > (low) ? (Py_ssize_t)(walk)->runs[3 * run] : (low),                 \
            last = NAME(least)((Py_ssize_t)((walk)->runs[3 * run] + (walk)->runs[3 * run + 1]), (low) + (walk)->block), \
            first < last)

/* The last run that starts at a lane or before it; 0 if there is none. */
INLINED Py_ssize_t NAME(run_of)(const NAME(walk) *walk, Py_ssize_t lane)
{
    Py_ssize_t low = 0, high = walk->run_count;
    while (low + 1 < high) {
        const Py_ssize_t middle = (low + high) / 2;
        if (walk->runs[3 * middle] <= lane)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Copy the outputs from `output` on at one block of lanes. */
INLINED void NAME(fetch_block)(const NAME(walk) *walk, const REAL *y, Py_ssize_t output, Py_ssize_t outputs, Py_ssize_t low, REAL *block)
{
    if (!walk->runs) {
        const Py_ssize_t present = NAME(least)(walk->lanes - low, walk->block);
        NAME(fetch)(y + output * walk->y_output + low * walk->y_lane, walk->y_output, walk->y_lane, block, walk->block, outputs, present);
        return;
    }
    memset(block, 0, (size_t)(outputs * walk->block) * sizeof(REAL));
    FOR_RUNS(walk, low, run, first, last)
    {
        const REAL *from = y + output * walk->y_output + walk->runs[3 * run + 2] + (first - walk->runs[3 * run]) * walk->y_lane;
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < last - first; l++)
                block[o * walk->block + first - low + l] = from[o * walk->y_output + l * walk->y_lane];
    }
}

INLINED void NAME(put_block)(const NAME(walk) *walk, Py_ssize_t output, Py_ssize_t outputs, Py_ssize_t low, const REAL *block)
{
    if (!walk->runs) {
        const Py_ssize_t present = NAME(least)(walk->lanes - low, walk->block);
        NAME(put)(walk->y + output * walk->y_output + low * walk->y_lane, walk->y_output, walk->y_lane, block, walk->block, outputs, present);
        return;
    }
    FOR_RUNS(walk, low, run, first, last)
    {
        REAL *to = walk->y + output * walk->y_output + walk->runs[3 * run + 2] + (first - walk->runs[3 * run]) * walk->y_lane;
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < last - first; l++)
                to[o * walk->y_output + l * walk->y_lane] = block[o * walk->block + first - low + l];
    }
}

/* ---- Forward ---- */

/* Add `count` edges to each output of a block of lanes. */
INLINED void NAME(add_edges)(const REAL *const *from, Py_ssize_t lanes, const REAL *sorted, const uint16_t *segments, REAL *block,
                             Py_ssize_t outputs, const int count, const int parts)
{
    const NAME(long_) zero = {0};
    const REAL *tables[MOST_TOGETHER];
#pragma GCC unroll 4
    for (int e = 0; e < count; e++)
        tables[e] = from[e];
    for (Py_ssize_t o = 0; o < outputs; o++, sorted += count, segments += count, block += parts * NAME(LONG)) {
        NAME(long_) *y = (NAME(long_) *)block, total[4], scaled[4];
        uint64_t word = 0; /* one load for all segments */
        memcpy(&word, segments, (size_t)count * sizeof *segments);
#pragma GCC unroll 4
        for (int k = 0; k < parts; k++)
            total[k] = y[k], scaled[k] = zero;
#pragma GCC unroll 4
        for (int e = 0; e < count; e++) {
            const REAL *table = tables[e] + (Py_ssize_t)FIELD_OF(word, e) * 2 * lanes;
            const NAME(long_) *p = (const NAME(long_) *)table, *q = (const NAME(long_) *)(table + lanes), z = sorted[e] - zero;
#pragma GCC unroll 4
            for (int k = 0; k < parts; k++)
                total[k] += p[k], scaled[k] += z * q[k];
        }
#pragma GCC unroll 4
        for (int k = 0; k < parts; k++)
            y[k] = total[k] + scaled[k];
    }
}

#define ADD_EDGES(count)                                                                            \
    if (walk->block == 4 * NAME(LONG))                                                              \
        NAME(add_edges)(t, walk->table, sorted, segments, block, outputs, count, 4);                \
    else                                                                                            \
        NAME(add_edges)(t, walk->table, sorted, segments, block, outputs, count, 2);

INLINED void NAME(add_together)(const NAME(walk) *walk, const REAL *const *tables, const REAL *sorted, const uint16_t *segments,
                                REAL *block, Py_ssize_t outputs, Py_ssize_t count)
{
    const REAL *t[MOST_TOGETHER] = {0};
    for (Py_ssize_t low = 0; low < walk->stretch; low += walk->block, block += outputs * walk->block) {
        for (Py_ssize_t e = 0; e < count; e++)
            t[e] = tables[e] + low;
        if (count == 4) {
            ADD_EDGES(4)
        } else if (count == 3) {
            ADD_EDGES(3)
        } else if (count == 2) {
            ADD_EDGES(2)
        } else {
            ADD_EDGES(1)
        }
    }
}

/* Items are pairs of a stretch of lanes and a group of outputs; add the sources of the chunk to their y. */
VECTORISED static void NAME(walk_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    NAME(tables) at;
    NAME(lay_out)(walk, walk->scratch + walk->scratch_size * thread, &at);
    const Py_ssize_t channels = walk->count / walk->taps, before = walk->first / walk->taps * walk->phases;
    for (Py_ssize_t item = start; item < stop; item++) {
        const Py_ssize_t low = item / walk->groups * walk->stretch, first = item % walk->groups * walk->group;
        const Py_ssize_t outputs = NAME(least)(walk->outputs - first, walk->group);
        for (Py_ssize_t b = 0; b < walk->stretch; b += walk->block)
            NAME(fetch_block)(walk, walk->y, first, outputs, low + b, at.block + b * outputs);
        at.fetched = -1;
        for (Py_ssize_t source = 0, slots; source < channels * walk->phases; source += slots) {
            const REAL *tables[MOST_TOGETHER] = {0};
            slots = NAME(least)(channels * walk->phases - source, walk->slots);
            for (Py_ssize_t slot = 0; slot < slots; slot++) {
                tables[slot] = at.tables + slot * NAME(table_size)(walk);
                NAME(make_tables)(walk, &at, before + source + slot, low, at.tables + slot * NAME(table_size)(walk), 0);
            }
            if (walk->taps == 1) {
                const Py_ssize_t place = source * walk->outputs + slots * first;
                NAME(add_together)(walk, tables, walk->sorted + place, walk->segments + place, at.block, outputs, slots);
                continue;
            }
            const Py_ssize_t phase = source % walk->phases, channel = source / walk->phases * walk->taps;
            Py_ssize_t size, end = walk->tap_starts[phase + 1];
            for (Py_ssize_t tap = walk->tap_starts[phase], next; tap < end; tap = next) {
                next = NAME(together)(tap, end, &size);
                for (Py_ssize_t e = 0; e < size; e++)
                    tables[e] = at.tables + walk->shifts[tap + e];
                const Py_ssize_t place = (channel + tap) * walk->outputs + size * first;
                NAME(add_together)(walk, tables, walk->sorted + place, walk->segments + place, at.block, outputs, size);
            }
        }
        for (Py_ssize_t b = 0; b < walk->stretch; b += walk->block)
            NAME(put_block)(walk, first, outputs, low + b, at.block + b * outputs);
    }
}

/* ---- Backward ---- */

/* Add the outputs of an edge to the gradients of their segments, and the products with Q to those of the prompts.
 *
 * What a segment gathers stays in registers, `parts` of each kind. It replaces what is there, or is `added` to it.
 */
INLINED void NAME(pull_edge)(const NAME(walk) *walk, const REAL *block, const REAL *table, REAL *gradients, Py_ssize_t edge,
                             const int parts, const int added)
{
    const Py_ssize_t lanes = walk->table, wide = parts * NAME(LONG);
    const uint16_t *ordered = walk->ordered + edge * walk->places;
    const int32_t *ends = walk->ends + edge * (walk->units + 1);
    const REAL *sorted = walk->sorted + edge * walk->places;
    REAL *pulled = walk->pulled + edge * walk->places;
    const NAME(long_) zero = {0};
    Py_ssize_t place = 0;
    for (Py_ssize_t segment = walk->low; segment <= walk->high; segment++) {
        const NAME(long_) *q = (const NAME(long_) *)(table + (2 * segment + 1) * lanes);
        NAME(long_) *p_found = (NAME(long_) *)(gradients + 2 * segment * lanes);
        NAME(long_) *q_found = (NAME(long_) *)(gradients + (2 * segment + 1) * lanes);
        NAME(long_) own[4], dp[4], dq[4];
        if (added && ends[segment] == place)
            continue;
#pragma GCC unroll 4
        for (int k = 0; k < parts; k++)
            own[k] = q[k], dp[k] = added ? p_found[k] : zero, dq[k] = added ? q_found[k] : zero;
        for (; place < ends[segment]; place += 4) {
            NAME(long_) r[4];
#pragma GCC unroll 4
            for (int n = 0; n < 4; n++) {
                const volatile NAME(long_) *g = (const volatile NAME(long_) *)(block + ordered[place + n] * wide);
                const NAME(long_) z = sorted[place + n] - zero;
                PREFETCH_ROW(block + ordered[place + n + 8] * wide, parts)
#pragma GCC unroll 4
                for (int k = 0; k < parts; k++) {
                    const NAME(long_) a = g[k]; /* read once, which "volatile" says */
                    dp[k] += a, dq[k] += z * a;
                    r[n] = k ? r[n] + a * own[k] : a * own[k];
                }
            }
            NAME(quad) sums;
            FOLD_FOUR(NAME(long_indices), r, sums)
            *(NAME(quad) *)(pulled + place) += sums;
        }
#pragma GCC unroll 4
        for (int k = 0; k < parts; k++)
            p_found[k] = dp[k], q_found[k] = dq[k];
    }
}

/* Pull the outputs of a stretch through the edges that read a source. */
INLINED void NAME(pull_source)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t phase, Py_ssize_t first)
{
    const Py_ssize_t rows = (walk->outputs + 1) * walk->block;
    if (walk->taps > 1) {
        const Py_ssize_t pitch = 2 * walk->table;
        memset(at->gradients + walk->low * pitch, 0, (size_t)((walk->high - walk->low + 1) * pitch) * sizeof(REAL));
    }
    for (Py_ssize_t tap = walk->tap_starts[phase]; tap < walk->tap_starts[phase + 1]; tap++)
        for (Py_ssize_t b = 0; b < walk->stretch / walk->block; b++) {
            const Py_ssize_t shift = walk->shifts[tap] + b * walk->block;
            const REAL *block = at->block + b * rows, *table = at->tables + shift;
            REAL *gradients = at->gradients + shift;
            if (walk->taps > 1 && walk->block == 4 * NAME(LONG))
                NAME(pull_edge)(walk, block, table, gradients, first + tap, 4, 1);
            else if (walk->taps > 1)
                NAME(pull_edge)(walk, block, table, gradients, first + tap, 2, 1);
            else if (walk->block == 4 * NAME(LONG))
                NAME(pull_edge)(walk, block, table, gradients, first + tap, 4, 0);
            else
                NAME(pull_edge)(walk, block, table, gradients, first + tap, 2, 0);
        }
}

/* Items are sources of the chunk; all of a source's gradients are written by one thread. */
VECTORISED static void NAME(pull_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    NAME(tables) at;
    NAME(lay_out)(walk, walk->scratch + walk->scratch_size * thread, &at);
    const Py_ssize_t before = walk->first / walk->taps * walk->phases, rows = (walk->outputs + 1) * walk->block;
    Py_ssize_t pending = 0;
    memset(at.recent, 0, (size_t)walk->recent_size * sizeof(REAL));
    for (Py_ssize_t low = 0; low < walk->lanes && start < stop; low += walk->stretch) {
        for (Py_ssize_t b = 0; b < walk->stretch / walk->block; b++) {
            NAME(fetch_block)(walk, walk->gradient, 0, walk->outputs, low + b * walk->block, at.block + b * rows);
            memset(at.block + (b + 1) * rows - walk->block, 0, (size_t)walk->block * sizeof(REAL));
        }
        at.fetched = -1;
        for (Py_ssize_t source = start; source < stop; source++) {
            const Py_ssize_t phase = source % walk->phases, channel = source / walk->phases * walk->taps;
            NAME(make_tables)(walk, &at, before + source, low, at.tables, 1);
            NAME(pull_source)(walk, &at, phase, channel);
            NAME(pull_tables)(walk, &at);
            NAME(transpose)(at.units, walk->table, at.rows, walk->used_columns, walk->used_columns, walk->table);
            NAME(pull_lanes)(walk, &at, before + source, low);
            pending += walk->table;
            if (pending >= WALK_FLUSHED)
                NAME(flush_walk)(walk, &at, thread), pending = 0;
        }
    }
    NAME(flush_walk)(walk, &at, thread);
}
