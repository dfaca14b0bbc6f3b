/* The curve walk: forward adds edges to outputs, backward adds outputs to the segments of edges. */

/* Where some lanes of the outputs are: `length` of them at `place`, from `lane` of the block on. */
#define FOR_RUNS(walk, low, run, first, last)                                                                  \
    for (Py_ssize_t run = NAME(run_of)(walk, low), first, last;                                                \
         run < (walk)->run_count && (walk)->runs[3 * run] < (low) + NAME(LANES); run++)                        \
        if (first = (walk)->runs[3 * run] > (low) ? (Py_ssize_t)(walk)->runs[3 * run] : (low),                 \
            last = NAME(least)((Py_ssize_t)((walk)->runs[3 * run] + (walk)->runs[3 * run + 1]), (low) + NAME(LANES)), \
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
        const Py_ssize_t present = NAME(least)(walk->lanes - low, NAME(LANES));
        NAME(fetch)(y + output * walk->y_output + low * walk->y_lane, walk->y_output, walk->y_lane, block, NAME(LANES), outputs, present);
        return;
    }
    memset(block, 0, (size_t)(outputs * NAME(LANES)) * sizeof(REAL));
    FOR_RUNS(walk, low, run, first, last)
    {
        const REAL *from = y + output * walk->y_output + walk->runs[3 * run + 2] + (first - walk->runs[3 * run]) * walk->y_lane;
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < last - first; l++)
                block[o * NAME(LANES) + first - low + l] = from[o * walk->y_output + l * walk->y_lane];
    }
}

INLINED void NAME(put_block)(const NAME(walk) *walk, Py_ssize_t output, Py_ssize_t outputs, Py_ssize_t low, const REAL *block)
{
    if (!walk->runs) {
        const Py_ssize_t present = NAME(least)(walk->lanes - low, NAME(LANES));
        NAME(put)(walk->y + output * walk->y_output + low * walk->y_lane, walk->y_output, walk->y_lane, block, outputs, present);
        return;
    }
    FOR_RUNS(walk, low, run, first, last)
    {
        REAL *to = walk->y + output * walk->y_output + walk->runs[3 * run + 2] + (first - walk->runs[3 * run]) * walk->y_lane;
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < last - first; l++)
                to[o * walk->y_output + l * walk->y_lane] = block[o * NAME(LANES) + first - low + l];
    }
}

/* ---- Forward ---- */

/* Add `count` edges to each output of a block. */
INLINED void NAME(add_edges)(const REAL *const *from, Py_ssize_t lanes, const REAL *sorted, const int32_t *offsets, REAL *block,
                             Py_ssize_t outputs, const int count)
{
    const REAL *tables[MOST_TOGETHER];
#pragma GCC unroll 8
    for (int e = 0; e < count; e++)
        tables[e] = from[e];
    for (Py_ssize_t o = 0; o < outputs; o++, sorted += count, offsets += count, block += NAME(LANES)) {
        NAME(wide) *y = (NAME(wide) *)block, total[NAME(PARTS)], scaled[NAME(PARTS)] = {{0}};
        for (int k = 0; k < NAME(PARTS); k++)
            total[k] = y[k];
#pragma GCC unroll 8
        for (int e = 0; e < count; e++) {
            const NAME(wide) *p = (const NAME(wide) *)(tables[e] + offsets[e]), *q = (const NAME(wide) *)(tables[e] + offsets[e] + lanes);
            const REAL z = sorted[e];
            for (int k = 0; k < NAME(PARTS); k++)
                total[k] += p[k], scaled[k] += z * q[k];
        }
        for (int k = 0; k < NAME(PARTS); k++)
            y[k] = total[k] + scaled[k];
    }
}

INLINED void NAME(add_together)(const NAME(walk) *walk, const REAL *const *tables, const REAL *sorted, const int32_t *offsets, REAL *block,
                                Py_ssize_t outputs, Py_ssize_t count)
{
    const REAL *t[MOST_TOGETHER] = {0};
    for (Py_ssize_t low = 0; low < walk->stretch; low += NAME(LANES), block += outputs * NAME(LANES)) {
        for (Py_ssize_t e = 0; e < count; e++)
            t[e] = tables[e] + low;
        if (count == 4)
            NAME(add_edges)(t, walk->table, sorted, offsets, block, outputs, 4);
        else if (count == 3)
            NAME(add_edges)(t, walk->table, sorted, offsets, block, outputs, 3);
        else if (count == 2)
            NAME(add_edges)(t, walk->table, sorted, offsets, block, outputs, 2);
        else
            NAME(add_edges)(t, walk->table, sorted, offsets, block, outputs, 1);
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
        for (Py_ssize_t b = 0; b < walk->stretch; b += NAME(LANES))
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
                NAME(add_together)(walk, tables, walk->sorted + place, walk->offsets + place, at.block, outputs, slots);
                continue;
            }
            const Py_ssize_t phase = source % walk->phases, channel = source / walk->phases * walk->taps;
            Py_ssize_t size, end = walk->tap_starts[phase + 1];
            for (Py_ssize_t tap = walk->tap_starts[phase], next; tap < end; tap = next) {
                next = NAME(together)(tap, end, &size);
                for (Py_ssize_t e = 0; e < size; e++)
                    tables[e] = at.tables + walk->shifts[tap + e];
                const Py_ssize_t place = (channel + tap) * walk->outputs + size * first;
                NAME(add_together)(walk, tables, walk->sorted + place, walk->offsets + place, at.block, outputs, size);
            }
        }
        for (Py_ssize_t b = 0; b < walk->stretch; b += NAME(LANES))
            NAME(put_block)(walk, first, outputs, low + b, at.block + b * outputs);
    }
}

/* ---- Backward ---- */

/* Add the outputs of an edge to the gradients of their segments, and the products with Q to those of the prompts. */
INLINED void NAME(pull_edge)(const NAME(walk) *walk, const REAL *block, const REAL *table, REAL *gradients, Py_ssize_t edge)
{
    const Py_ssize_t fours = walk->fours[edge], lanes = walk->table;
    const int32_t *ordered = walk->ordered + edge * walk->places, *offsets = walk->offsets + edge * (walk->places / 4);
    const REAL *sorted = walk->sorted + edge * walk->places;
    REAL *pulled = walk->pulled + edge * walk->places;
    for (Py_ssize_t four = 0; four < fours; four++, ordered += 4, sorted += 4, pulled += 4) {
        const NAME(wide) *q = (const NAME(wide) *)(table + offsets[four] + lanes);
        NAME(wide) *dp = (NAME(wide) *)(gradients + offsets[four]), *dq = (NAME(wide) *)(gradients + offsets[four] + lanes);
        const NAME(wide) *g0 = (const NAME(wide) *)(block + ordered[0]), *g1 = (const NAME(wide) *)(block + ordered[1]);
        const NAME(wide) *g2 = (const NAME(wide) *)(block + ordered[2]), *g3 = (const NAME(wide) *)(block + ordered[3]);
        const NAME(wide) zero = {0}, z0 = zero + sorted[0], z1 = zero + sorted[1], z2 = zero + sorted[2], z3 = zero + sorted[3];
        NAME(wide) r[4] = {{0}};
#pragma GCC unroll 4
        for (int k = 0; k < NAME(PARTS); k++) {
            const NAME(wide) a0 = g0[k], a1 = g1[k], a2 = g2[k], a3 = g3[k], own = q[k];
            dp[k] += (a0 + a1) + (a2 + a3);
            dq[k] += (z0 * a0 + z1 * a1) + (z2 * a2 + z3 * a3);
            r[0] += a0 * own, r[1] += a1 * own, r[2] += a2 * own, r[3] += a3 * own;
        }
        NAME(quad) sums;
        FOLD_FOUR(NAME(wide_indices), r, sums)
        *(NAME(quad) *)pulled += sums;
    }
}

/* Items are sources of the chunk; all of a source's gradients are written by one thread. */
VECTORISED static void NAME(pull_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    NAME(tables) at;
    NAME(lay_out)(walk, walk->scratch + walk->scratch_size * thread, &at);
    const Py_ssize_t before = walk->first / walk->taps * walk->phases, rows = (walk->outputs + 1) * NAME(LANES);
    const Py_ssize_t pitch = 2 * walk->table, met = (walk->high - walk->low + 1) * pitch;
    Py_ssize_t pending = 0;
    memset(at.recent, 0, (size_t)walk->recent_size * sizeof(REAL));
    for (Py_ssize_t low = 0; low < walk->lanes && start < stop; low += walk->stretch) {
        for (Py_ssize_t b = 0; b < walk->stretch / NAME(LANES); b++) {
            NAME(fetch_block)(walk, walk->gradient, 0, walk->outputs, low + b * NAME(LANES), at.block + b * rows);
            memset(at.block + (b + 1) * rows - NAME(LANES), 0, NAME(LANES) * sizeof(REAL));
        }
        at.fetched = -1;
        for (Py_ssize_t source = start; source < stop; source++) {
            const Py_ssize_t phase = source % walk->phases, channel = source / walk->phases * walk->taps;
            NAME(make_tables)(walk, &at, before + source, low, at.tables, 1);
            memset(at.gradients + walk->low * pitch, 0, (size_t)met * sizeof(REAL));
            for (Py_ssize_t tap = walk->tap_starts[phase]; tap < walk->tap_starts[phase + 1]; tap++)
                for (Py_ssize_t b = 0; b < walk->stretch / NAME(LANES); b++) {
                    const Py_ssize_t shift = walk->shifts[tap] + b * NAME(LANES);
                    NAME(pull_edge)(walk, at.block + b * rows, at.tables + shift, at.gradients + shift, channel + tap);
                }
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
