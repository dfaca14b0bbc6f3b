/* The curve walk (see engine/walk.py), for one type REAL; included once for each.
 *
 * A layer of edges `sum_h relu(w_h z + b_h) u_h(x) + v(x)` with units u_h(x) = W_h . features(x). Between two kinks the
 * sum over h is P + z Q, whose tables of (units + 1) segments are made for a block of samples of one source at a time:
 * they stay in the caches nearest to the processor while all outputs pass, ordered by segment, so that a row of a table
 * is read once. Units come in the order of their kinks.
 *
 * A source is an input, or one phase of a channel of a convolution (then `taps` edges read it, each `shift` lanes
 * ahead). Lanes are samples, or positions of all images in a row.
 */

enum { NAME(VECTOR) = 64 / sizeof(REAL), NAME(LANES) = 256 / sizeof(REAL), NAME(WIDE) = 32 / sizeof(REAL) };

typedef REAL NAME(vector) __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef INTEGER NAME(indices) __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(wide) __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef INTEGER NAME(wide_indices) __attribute__((vector_size(32), may_alias));

typedef struct {
    Py_ssize_t sources, phases, taps, lanes, readable, halo, outputs, units, columns, rows;
    const REAL *x, *sigmoid;     /* `x_source` apart, and x_lane */
    Py_ssize_t x_source, x_lane;
    const uint8_t *mask;         /* (phases, readable), zero where there is no sample; or null */
    const int32_t *tap_starts, *tap_edges, *shifts; /* taps of each phase: their edge in a channel, and shift */
    NAME(knots) knots;
    Py_ssize_t order;            /* of splines, or -1 where the features are given */
    const REAL *pieces, *slopes; /* of the splines, (order + 1, order + 1), and of their derivatives */
    const REAL *features;        /* where they are given: numbers `feature_apart` apart, else as x */
    Py_ssize_t feature_apart;
    REAL *features_gradient;     /* in the same layout, or null */
    const REAL *prompts;         /* (outputs, sources / phases * taps), rows prompt_stride apart */
    Py_ssize_t prompt_stride;
    const REAL *kinks, *factors; /* of each unit: its kink; b, w, whether it is active before all kinks, the change */
    const REAL *weights;         /* (rows, columns): of each feature, and v in the column after the units */
    REAL *y;                     /* or */
    const REAL *gradient;        /* that of y, */
    Py_ssize_t y_output, y_lane;
    REAL *x_gradient;            /* like x with its own distances, or null */
    Py_ssize_t dx_source, dx_lane;
    REAL *prompt_gradient;       /* or null */
    Py_ssize_t dz_stride;
    double *sums;                /* b and w of each unit, then the weights; of each thread */
    /* how the work is cut, and memory for it */
    Py_ssize_t group, groups, chunk, first, count, table, threads;
    uint16_t *ordered;           /* (edges of a chunk, outputs): outputs of each group by segment */
    REAL *sorted, *pulled;       /* the same: their prompts, and the gradient of these */
    int32_t *starts;             /* (edges of a chunk, groups, units + 2) */
    REAL *scratch;               /* of each thread */
    Py_ssize_t scratch_size, recent_size, backward;
    char *memory;
} NAME(walk);

/* What a thread holds of one block of lanes. */
typedef struct {
    REAL *block, *values, *slope, *rows, *units, *p, *q, *dp, *dq, *recent, *points, *found;
    int32_t *cell;
    Py_ssize_t fetched; /* the first of the WIDE sources whose points are there, or -1 */
} NAME(tables);

INLINED Py_ssize_t NAME(met)(const NAME(walk) *walk)
{
    return walk->order < 0 ? walk->rows : walk->order + 2;
}

/* Lay a thread's tables out from `base` on; return their size. */
static Py_ssize_t NAME(lay_out)(const NAME(walk) *walk, REAL *base, NAME(tables) *at, int backward)
{
    const Py_ssize_t lanes = walk->table, segments = walk->units + 1, met = NAME(met)(walk);
    const Py_ssize_t sizes[] = {
        (backward ? walk->outputs : walk->group) * NAME(LANES), met * lanes, backward ? met * lanes : 0, lanes * walk->columns,
        walk->columns * lanes, segments * lanes, segments * lanes, backward ? segments * lanes : 0,
        backward ? segments * lanes : 0, backward ? walk->recent_size : 0, 2 * NAME(WIDE) * lanes,
        backward ? NAME(WIDE) * lanes : 0, lanes,
    };
    REAL **places[] = {&at->block, &at->values, &at->slope, &at->rows, &at->units, &at->p, &at->q, &at->dp, &at->dq,
                       &at->recent, &at->points, &at->found, (REAL **)&at->cell};
    Py_ssize_t used = 0;
    for (size_t place = 0; place < sizeof sizes / sizeof *sizes; place++) {
        *places[place] = base + used;
        used += (sizes[place] + NAME(LANES) - 1) / NAME(LANES) * NAME(LANES);
    }
    return used;
}

/* ---- The order of outputs by segment ---- */

#define WALK_FLUSHED 128 /* samples whose part of the gradient of the weights is added up before that in double */
#define TILE 16 /* edges whose prompts are read together, a line of the cache in each output */

INLINED void NAME(order_edge)(const NAME(walk) *walk, const REAL *prompts, int32_t *segment, Py_ssize_t edge)
{
    const Py_ssize_t segments = walk->units + 1;
    for (Py_ssize_t group = 0; group < walk->groups; group++) {
        const Py_ssize_t low = group * walk->group, high = low + walk->group < walk->outputs ? low + walk->group : walk->outputs;
        int32_t *starts = walk->starts + (edge * walk->groups + group) * (segments + 1);
        uint16_t *ordered = walk->ordered + edge * walk->outputs + low;
        REAL *sorted = walk->sorted + edge * walk->outputs + low;
        memset(starts, 0, (size_t)(segments + 1) * sizeof *starts);
        for (Py_ssize_t o = low; o < high; o++)
            starts[segment[o]]++;
        int32_t total = 0;
        for (Py_ssize_t s = 0; s <= segments; s++) {
            const int32_t here = starts[s];
            starts[s] = total, total += here;
        }
        for (Py_ssize_t o = low; o < high; o++) {
            const int32_t place = starts[segment[o]]++;
            ordered[place] = (uint16_t)(o - low), sorted[place] = prompts[o];
        }
        memmove(starts + 1, starts, (size_t)segments * sizeof *starts); /* ends became starts of the next */
        starts[0] = 0;
    }
}

VECTORISED static void NAME(order_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    const Py_ssize_t outputs = walk->outputs;
    REAL *prompts = walk->scratch + walk->scratch_size * thread;
    const Py_ssize_t padded = (outputs + NAME(VECTOR) - 1) / NAME(VECTOR) * NAME(VECTOR);
    int32_t *segment = (int32_t *)(prompts + TILE * padded);
    for (Py_ssize_t tile = start; tile < stop; tile++) {
        const Py_ssize_t first = tile * TILE, width = walk->count - first < TILE ? walk->count - first : TILE;
        const REAL *from = walk->prompts + walk->first + first;
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t t = 0; t < width; t++)
                prompts[t * padded + o] = from[o * walk->prompt_stride + t];
        for (Py_ssize_t t = 0; t < width; t++) {
            REAL *own = prompts + t * padded;
            for (Py_ssize_t o = outputs; o < padded; o++)
                own[o] = 0;
            for (Py_ssize_t o = 0; o < padded; o += NAME(VECTOR)) {
                const NAME(vector) z = *(const NAME(vector) *)(own + o);
                NAME(indices) above = {0};
                for (Py_ssize_t h = 0; h < walk->units; h++)
                    above -= (NAME(indices))(z > walk->kinks[h]);
                for (int k = 0; k < NAME(VECTOR); k++)
                    segment[o + k] = (int32_t)above[k];
            }
            NAME(order_edge)(walk, own, segment, first + t);
        }
    }
}

VECTORISED static void NAME(unorder_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    const Py_ssize_t outputs = walk->outputs;
    REAL *found = walk->scratch + walk->scratch_size * thread;
    for (Py_ssize_t tile = start; tile < stop; tile++) {
        const Py_ssize_t first = tile * TILE, width = walk->count - first < TILE ? walk->count - first : TILE;
        for (Py_ssize_t t = 0; t < width; t++) {
            const uint16_t *ordered = walk->ordered + (first + t) * outputs;
            const REAL *pulled = walk->pulled + (first + t) * outputs;
            for (Py_ssize_t place = 0; place < outputs; place++)
                found[ordered[place] * TILE + t] = pulled[place];
        }
        REAL *to = walk->prompt_gradient + walk->first + first;
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t t = 0; t < width; t++)
                to[o * walk->dz_stride + t] = found[o * TILE + t];
    }
}

/* ---- Tables of a block of lanes ---- */

/* Transpose `rows` times `columns`, multiples of WIDE. */
INLINED void NAME(transpose)(const REAL *from, Py_ssize_t from_pitch, REAL *to, Py_ssize_t to_pitch, Py_ssize_t rows,
                             Py_ssize_t columns)
{
    for (Py_ssize_t row = 0; row < rows; row += NAME(WIDE))
        for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE)) {
            NAME(wide) r[NAME(WIDE)];
#pragma GCC unroll 8
            for (int k = 0; k < NAME(WIDE); k++)
                r[k] = *(const NAME(wide) *)(from + (row + k) * from_pitch + column);
            SWAPS(NAME(wide_indices), r)
#pragma GCC unroll 8
            for (int k = 0; k < NAME(WIDE); k++)
                *(NAME(wide) *)(to + (column + k) * to_pitch + row) = r[k];
        }
}

INLINED Py_ssize_t NAME(present)(const NAME(walk) *walk, Py_ssize_t low)
{
    return walk->lanes - low < NAME(LANES) ? walk->lanes - low : NAME(LANES);
}

/* Copy a block of lanes of outputs: into `block`, or back. Neighbours in memory are passed one after another. */
INLINED void NAME(fetch)(const REAL *from, Py_ssize_t output, Py_ssize_t lane, REAL *block, Py_ssize_t pitch, Py_ssize_t outputs,
                         Py_ssize_t present)
{
    if (output == 1) {
        const Py_ssize_t lanes = present / NAME(WIDE) * NAME(WIDE), rows = outputs / NAME(WIDE) * NAME(WIDE);
        NAME(transpose)(from, lane, block, pitch, lanes, rows);
        for (Py_ssize_t l = 0; l < present; l++)
            for (Py_ssize_t o = l < lanes ? rows : 0; o < outputs; o++)
                block[o * pitch + l] = from[o + l * lane];
    } else
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < present; l++)
                block[o * pitch + l] = from[o * output + l * lane];
    if (present < pitch)
        for (Py_ssize_t o = 0; o < outputs; o++)
            memset(block + o * pitch + present, 0, (size_t)(pitch - present) * sizeof(REAL));
}

INLINED void NAME(put)(REAL *to, Py_ssize_t output, Py_ssize_t lane, const REAL *block, Py_ssize_t outputs, Py_ssize_t present)
{
    if (output == 1) {
        const Py_ssize_t lanes = present / NAME(WIDE) * NAME(WIDE), rows = outputs / NAME(WIDE) * NAME(WIDE);
        NAME(transpose)(block, NAME(LANES), to, lane, rows, lanes);
        for (Py_ssize_t l = 0; l < present; l++)
            for (Py_ssize_t o = l < lanes ? rows : 0; o < outputs; o++)
                to[o + l * lane] = block[o * NAME(LANES) + l];
    } else
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < present; l++)
                to[o * output + l * lane] = block[o * NAME(LANES) + l];
}

INLINED void NAME(evaluate_splines)(const NAME(walk) *walk, NAME(tables) *at, const REAL *x, const REAL *sigmoid,
                                    const REAL *inside, const Py_ssize_t order, int backward)
{
    const Py_ssize_t lanes = walk->table;
    for (Py_ssize_t block = 0; block < lanes; block += NAME(LANES)) {
        REAL place[NAME(LANES)];
        for (Py_ssize_t l = 0; l < NAME(LANES); l++)
            at->cell[block + l] = NAME(locate)(walk->knots, x[block + l], &place[l]);
        for (Py_ssize_t r = 0; r <= order; r++) {
            REAL *restrict values = at->values + r * lanes + block, *restrict slope = at->slope + r * lanes + block;
            for (Py_ssize_t l = 0; l < NAME(LANES); l++) {
                REAL value = walk->pieces[order * (order + 1) + r];
                for (Py_ssize_t power = order - 1; power >= 0; power--)
                    value = value * place[l] + walk->pieces[power * (order + 1) + r];
                values[l] = value * inside[block + l];
            }
            if (!backward)
                continue;
            for (Py_ssize_t l = 0; l < NAME(LANES); l++) {
                REAL value = order ? walk->slopes[(order - 1) * (order + 1) + r] : 0;
                for (Py_ssize_t power = order - 2; power >= 0; power--)
                    value = value * place[l] + walk->slopes[power * (order + 1) + r];
                slope[l] = value * inside[block + l];
            }
        }
        REAL *restrict values = at->values + (order + 1) * lanes + block, *restrict slope = at->slope + (order + 1) * lanes + block;
        for (Py_ssize_t l = 0; l < NAME(LANES); l++)
            values[l] = x[block + l] * sigmoid[block + l] * inside[block + l];
        if (backward)
            for (Py_ssize_t l = 0; l < NAME(LANES); l++)
                slope[l] = NAME(silu_slope)(x[block + l], sigmoid[block + l]) * inside[block + l];
    }
}

/* The features of a source at the lanes from `low` on: values[met][lanes], and rows of weights in cell[lanes]. */
INLINED void NAME(look)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t source, Py_ssize_t low, int backward)
{
    const Py_ssize_t lanes = walk->table;
    const uint8_t *mask = walk->mask ? walk->mask + source % walk->phases * walk->readable : NULL;
    const Py_ssize_t readable = walk->readable - low < lanes ? walk->readable - low : lanes;
    const REAL *x = (walk->order < 0 ? walk->features : walk->x) + source * walk->x_source + low * walk->x_lane;
    REAL *inside = at->p; /* its place is free until later */
    for (Py_ssize_t l = 0; l < lanes; l++)
        inside[l] = l < readable && (!mask || mask[low + l]);
    if (walk->order < 0) {
        for (Py_ssize_t row = 0; row < walk->rows; row++)
            for (Py_ssize_t l = 0; l < lanes; l++)
                at->values[row * lanes + l] = inside[l] != 0 ? x[row * walk->feature_apart + l * walk->x_lane] : 0;
        return;
    }
    const REAL *points = at->points, *sigmoid = at->points + NAME(WIDE) * lanes;
    if (walk->x_source == 1) { /* neighbouring sources are neighbours in memory: several are read together */
        const Py_ssize_t first = source / NAME(WIDE) * NAME(WIDE), place = (source - first) * lanes;
        if (at->fetched != first) {
            const Py_ssize_t rows = walk->sources - first < NAME(WIDE) ? walk->sources - first : NAME(WIDE);
            const Py_ssize_t from = first + low * walk->x_lane;
            NAME(fetch)(walk->x + from, 1, walk->x_lane, at->points, lanes, rows, readable);
            NAME(fetch)(walk->sigmoid + from, 1, walk->x_lane, at->points + NAME(WIDE) * lanes, lanes, rows, readable);
            at->fetched = first;
        }
        points += place, sigmoid += place;
    } else {
        NAME(fetch)(x, walk->x_source, walk->x_lane, at->points, lanes, 1, readable);
        NAME(fetch)(walk->sigmoid + source * walk->x_source + low * walk->x_lane, walk->x_source, walk->x_lane,
                    at->points + NAME(WIDE) * lanes, lanes, 1, readable);
    }
    if (walk->order == 3)
        NAME(evaluate_splines)(walk, at, points, sigmoid, inside, 3, backward);
    else
        NAME(evaluate_splines)(walk, at, points, sigmoid, inside, walk->order, backward);
}

/* Which row of the weights the feature `r` of a lane multiplies. */
INLINED Py_ssize_t NAME(row)(const NAME(walk) *walk, const NAME(tables) *at, Py_ssize_t r, Py_ssize_t l, const Py_ssize_t met)
{
    return walk->order < 0 ? r : r == met - 1 ? walk->rows - 1 : at->cell[l] + r;
}

/* The units of each lane, and then the lanes of each unit. */
INLINED void NAME(mix)(const NAME(walk) *walk, NAME(tables) *at, const Py_ssize_t met)
{
    const Py_ssize_t lanes = walk->table, columns = walk->columns;
    for (Py_ssize_t l = 0; l < lanes; l++) {
        REAL *rows = at->rows + l * columns;
        for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE)) {
            NAME(wide) total = {0};
            for (Py_ssize_t r = 0; r < met; r++) {
                const REAL *weights = walk->weights + NAME(row)(walk, at, r, l, met) * columns + column;
                total += at->values[r * lanes + l] * *(const NAME(wide) *)weights;
            }
            *(NAME(wide) *)(rows + column) = total;
        }
    }
    NAME(transpose)(at->rows, columns, at->units, lanes, lanes, columns);
}

INLINED void NAME(accumulate)(const NAME(walk) *walk, const REAL *units, REAL *table, const REAL *first, Py_ssize_t factor)
{
    const Py_ssize_t lanes = walk->table, count = walk->units;
    const REAL *factors = walk->factors + factor * count, *before = walk->factors + 2 * count, *change = before + count;
    for (Py_ssize_t l = 0; l < lanes; l += NAME(VECTOR)) {
        NAME(vector) total = {0};
        if (first)
            total = *(const NAME(vector) *)(first + l);
        for (Py_ssize_t h = 0; h < count; h++)
            total += before[h] * factors[h] * *(const NAME(vector) *)(units + h * lanes + l);
        *(NAME(vector) *)(table + l) = total;
        for (Py_ssize_t h = 0; h < count; h++) {
            total += change[h] * factors[h] * *(const NAME(vector) *)(units + h * lanes + l);
            *(NAME(vector) *)(table + (h + 1) * lanes + l) = total;
        }
    }
}

INLINED void NAME(make_tables)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t source, Py_ssize_t low, int backward)
{
    NAME(look)(walk, at, source, low, backward);
    if (walk->order == 3)
        NAME(mix)(walk, at, 5);
    else
        NAME(mix)(walk, at, NAME(met)(walk));
    if (!backward)
        NAME(accumulate)(walk, at->units, at->p, at->units + walk->units * walk->table, 0);
    NAME(accumulate)(walk, at->units, at->q, NULL, 1);
}

/* ---- Forward ---- */

INLINED void NAME(walk_edge)(const NAME(walk) *walk, const NAME(tables) *at, Py_ssize_t edge, Py_ssize_t group, Py_ssize_t shift)
{
    const Py_ssize_t place = edge * walk->outputs + group * walk->group;
    const uint16_t *ordered = walk->ordered + place;
    const REAL *sorted = walk->sorted + place;
    const int32_t *starts = walk->starts + (edge * walk->groups + group) * (walk->units + 2);
    for (Py_ssize_t segment = 0; segment <= walk->units; segment++) {
        if (starts[segment] == starts[segment + 1])
            continue;
        const NAME(vector) *p = (const NAME(vector) *)(at->p + segment * walk->table + shift);
        const NAME(vector) *q = (const NAME(vector) *)(at->q + segment * walk->table + shift);
        const NAME(vector) p0 = p[0], p1 = p[1], p2 = p[2], p3 = p[3], q0 = q[0], q1 = q[1], q2 = q[2], q3 = q[3];
        for (int32_t k = starts[segment]; k < starts[segment + 1]; k++) {
            NAME(vector) *y = (NAME(vector) *)(at->block + (Py_ssize_t)ordered[k] * NAME(LANES));
            const REAL z = sorted[k];
            y[0] += p0 + z * q0, y[1] += p1 + z * q1, y[2] += p2 + z * q2, y[3] += p3 + z * q3;
        }
    }
}

/* Items are pairs of a block of lanes and a group of outputs; add the sources of the chunk to their y. */
VECTORISED static void NAME(walk_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    NAME(tables) at;
    NAME(lay_out)(walk, walk->scratch + walk->scratch_size * thread, &at, 0);
    const Py_ssize_t channels = walk->count / walk->taps, before = walk->first / walk->taps * walk->phases;
    for (Py_ssize_t item = start; item < stop; item++) {
        const Py_ssize_t low = item / walk->groups * NAME(LANES), group = item % walk->groups, first = group * walk->group;
        const Py_ssize_t outputs = walk->outputs - first < walk->group ? walk->outputs - first : walk->group;
        const Py_ssize_t present = NAME(present)(walk, low);
        REAL *y = walk->y + first * walk->y_output + low * walk->y_lane;
        NAME(fetch)(y, walk->y_output, walk->y_lane, at.block, NAME(LANES), outputs, present);
        at.fetched = -1;
        for (Py_ssize_t source = 0; source < channels * walk->phases; source++) {
            const Py_ssize_t phase = source % walk->phases;
            NAME(make_tables)(walk, &at, before + source, low, 0);
            for (int32_t tap = walk->tap_starts[phase]; tap < walk->tap_starts[phase + 1]; tap++)
                NAME(walk_edge)(walk, &at, source / walk->phases * walk->taps + walk->tap_edges[tap], group, walk->shifts[tap]);
        }
        NAME(put)(y, walk->y_output, walk->y_lane, at.block, outputs, present);
    }
}

/* ---- Backward ---- */

INLINED NAME(wide) NAME(halved)(NAME(vector) values)
{
    NAME(wide) halves[2];
    memcpy(halves, &values, sizeof halves);
    return halves[0] + halves[1];
}

/* Add the sums over each of the first `count` of `parts` to `to`. */
INLINED void NAME(add_sums)(NAME(wide) *parts, REAL *to, int count)
{
    NAME(wide) r[NAME(WIDE)];
#pragma GCC unroll 8
    for (int k = 0; k < NAME(WIDE); k++)
        r[k] = parts[k];
    FOLDS(NAME(wide_indices), r)
    if (count == NAME(WIDE))
        *(NAME(wide) *)to += r[0];
    else
        for (int k = 0; k < count; k++)
            to[k] += r[0][k];
}

INLINED void NAME(pull_edge)(const NAME(walk) *walk, const NAME(tables) *at, Py_ssize_t edge, Py_ssize_t shift)
{
    const uint16_t *ordered = walk->ordered + edge * walk->outputs;
    const REAL *sorted = walk->sorted + edge * walk->outputs;
    REAL *pulled = walk->pulled + edge * walk->outputs;
    const int32_t *starts = walk->starts + edge * (walk->units + 2);
    for (Py_ssize_t segment = 0; segment <= walk->units; segment++) {
        if (starts[segment] == starts[segment + 1])
            continue;
        const NAME(vector) *q = (const NAME(vector) *)(at->q + segment * walk->table + shift);
        const NAME(vector) q0 = q[0], q1 = q[1], q2 = q[2], q3 = q[3];
        NAME(vector) *dp = (NAME(vector) *)(at->dp + segment * walk->table + shift);
        NAME(vector) *dq = (NAME(vector) *)(at->dq + segment * walk->table + shift);
        NAME(vector) p0 = dp[0], p1 = dp[1], p2 = dp[2], p3 = dp[3], r0 = dq[0], r1 = dq[1], r2 = dq[2], r3 = dq[3];
        NAME(wide) parts[NAME(WIDE)] = {{0}};
        int filled = 0;
        for (int32_t k = starts[segment]; k < starts[segment + 1]; k++) {
            const NAME(vector) *g = (const NAME(vector) *)(at->block + (Py_ssize_t)ordered[k] * NAME(LANES));
            const REAL z = sorted[k];
            const NAME(vector) g0 = g[0], g1 = g[1], g2 = g[2], g3 = g[3];
            p0 += g0, p1 += g1, p2 += g2, p3 += g3;
            r0 += z * g0, r1 += z * g1, r2 += z * g2, r3 += z * g3;
            parts[filled++] = NAME(halved)((g0 * q0 + g1 * q1) + (g2 * q2 + g3 * q3));
            if (filled == NAME(WIDE))
                NAME(add_sums)(parts, pulled + k + 1 - filled, filled), filled = 0;
        }
        if (filled)
            NAME(add_sums)(parts, pulled + starts[segment + 1] - filled, filled);
        dp[0] = p0, dp[1] = p1, dp[2] = p2, dp[3] = p3, dq[0] = r0, dq[1] = r1, dq[2] = r2, dq[3] = r3;
    }
}

/* Turn the gradient of the tables into that of the units, in their place, and add up that of b and w. */
INLINED void NAME(pull_tables)(const NAME(walk) *walk, NAME(tables) *at)
{
    const Py_ssize_t lanes = walk->table, count = walk->units;
    const REAL *b = walk->factors, *w = b + count, *before = w + count, *change = before + count;
    NAME(vector) *recent = (NAME(vector) *)at->recent;
    for (Py_ssize_t l = 0; l < lanes; l += NAME(VECTOR)) {
        NAME(vector) all_p = {0}, all_q = {0}, above_p = {0}, above_q = {0};
        for (Py_ssize_t s = 0; s <= count; s++) {
            all_p += *(const NAME(vector) *)(at->dp + s * lanes + l);
            all_q += *(const NAME(vector) *)(at->dq + s * lanes + l);
        }
        for (Py_ssize_t h = count - 1; h >= 0; h--) {
            NAME(vector) *units = (NAME(vector) *)(at->units + h * lanes + l);
            above_p += *(const NAME(vector) *)(at->dp + (h + 1) * lanes + l);
            above_q += *(const NAME(vector) *)(at->dq + (h + 1) * lanes + l);
            const NAME(vector) own_p = before[h] * all_p + change[h] * above_p, own_q = before[h] * all_q + change[h] * above_q;
            recent[2 * h] += *units * own_p;
            recent[2 * h + 1] += *units * own_q;
            *units = b[h] * own_p + w[h] * own_q;
        }
        *(NAME(vector) *)(at->units + count * lanes + l) = all_p;
    }
}

/* Add up the gradient of the weights from that of the units of each lane, and write that of the samples. */
INLINED void NAME(pull_lanes)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t source, Py_ssize_t low, const Py_ssize_t met)
{
    const Py_ssize_t lanes = walk->table, columns = walk->columns, readable = walk->readable - low;
    REAL *weights_gradient = at->recent + 2 * walk->units * NAME(VECTOR);
    REAL *found = walk->x_gradient ? walk->x_gradient + source * walk->dx_source + low * walk->dx_lane : NULL;
    REAL *features = walk->features_gradient ? walk->features_gradient + source * walk->dx_source + low * walk->dx_lane : NULL;
    for (Py_ssize_t l = 0; l < lanes && l < readable; l++) {
        const REAL *rows = at->rows + l * columns;
        for (Py_ssize_t r = 0; r < met; r++) {
            REAL *sums = weights_gradient + NAME(row)(walk, at, r, l, met) * columns;
            const REAL value = at->values[r * lanes + l];
            for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE))
                *(NAME(wide) *)(sums + column) += value * *(const NAME(wide) *)(rows + column);
        }
        if (found) {
            NAME(wide) total = {0};
            for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE)) {
                NAME(wide) mixed = {0};
                for (Py_ssize_t r = 0; r < met; r++)
                    mixed += at->slope[r * lanes + l] * *(const NAME(wide) *)(walk->weights + NAME(row)(walk, at, r, l, met) * columns + column);
                total += mixed * *(const NAME(wide) *)(rows + column);
            }
            REAL sum = 0;
            for (int k = 0; k < NAME(WIDE); k++)
                sum += total[k];
            found[l * walk->dx_lane] += sum;
        }
        if (features)
            for (Py_ssize_t r = 0; r < met; r++) {
                const REAL *weights = walk->weights + r * columns;
                NAME(wide) total = {0};
                for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE))
                    total += *(const NAME(wide) *)(weights + column) * *(const NAME(wide) *)(rows + column);
                REAL sum = 0;
                for (int k = 0; k < NAME(WIDE); k++)
                    sum += total[k];
                features[r * walk->feature_apart + l * walk->dx_lane] += sum;
            }
    }
}

INLINED void NAME(flush_walk)(const NAME(walk) *walk, NAME(tables) *at, int thread)
{
    const Py_ssize_t count = 2 * walk->units, size = walk->rows * walk->columns;
    double *sums = walk->sums + (count + size) * thread;
    REAL *weights = at->recent + count * NAME(VECTOR);
    for (Py_ssize_t h = 0; h < count; h++)
        for (Py_ssize_t k = 0; k < NAME(VECTOR); k++)
            sums[h] += at->recent[h * NAME(VECTOR) + k];
    for (Py_ssize_t place = 0; place < size; place++)
        sums[count + place] += weights[place];
    memset(at->recent, 0, (size_t)walk->recent_size * sizeof(REAL));
}

/* Items are sources of the chunk; all of a source's gradients are written by one thread. */
VECTORISED static void NAME(pull_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    NAME(tables) at;
    NAME(lay_out)(walk, walk->scratch + walk->scratch_size * thread, &at, 1);
    const Py_ssize_t before = walk->first / walk->taps * walk->phases;
    Py_ssize_t pending = 0;
    memset(at.recent, 0, (size_t)walk->recent_size * sizeof(REAL));
    for (Py_ssize_t low = 0; low < walk->lanes && start < stop; low += NAME(LANES)) {
        NAME(fetch)(walk->gradient + low * walk->y_lane, walk->y_output, walk->y_lane, at.block, NAME(LANES), walk->outputs, NAME(present)(walk, low));
        at.fetched = -1;
        for (Py_ssize_t source = start; source < stop; source++) {
            const Py_ssize_t phase = source % walk->phases;
            NAME(make_tables)(walk, &at, before + source, low, 1);
            memset(at.dp, 0, (size_t)((walk->units + 1) * walk->table) * sizeof(REAL));
            memset(at.dq, 0, (size_t)((walk->units + 1) * walk->table) * sizeof(REAL));
            for (int32_t tap = walk->tap_starts[phase]; tap < walk->tap_starts[phase + 1]; tap++)
                NAME(pull_edge)(walk, &at, source / walk->phases * walk->taps + walk->tap_edges[tap], walk->shifts[tap]);
            NAME(pull_tables)(walk, &at);
            NAME(transpose)(at.units, walk->table, at.rows, walk->columns, walk->columns, walk->table);
            if (walk->order == 3)
                NAME(pull_lanes)(walk, &at, before + source, low, 5);
            else
                NAME(pull_lanes)(walk, &at, before + source, low, NAME(met)(walk));
            pending += walk->table;
            if (pending >= WALK_FLUSHED)
                NAME(flush_walk)(walk, &at, thread), pending = 0;
        }
    }
    NAME(flush_walk)(walk, &at, thread);
}

/* ---- Entry points ---- */

/* Set what follows from the sizes. */
static void NAME(plan_walk)(NAME(walk) *walk, int backward)
{
    NAME(tables) unused;
    walk->table = (1 + (walk->halo + NAME(LANES) - 1) / NAME(LANES)) * NAME(LANES);
    walk->groups = walk->group ? (walk->outputs + walk->group - 1) / walk->group : 1;
    walk->recent_size = 2 * walk->units * NAME(VECTOR) + walk->rows * walk->columns;
    walk->scratch_size = NAME(lay_out)(walk, NULL, &unused, backward);
    const Py_ssize_t ordering = (TILE + 1) * (walk->outputs + NAME(LANES));
    if (walk->scratch_size < ordering)
        walk->scratch_size = ordering;
}

static Py_ssize_t NAME(chunk_size)(const NAME(walk) *walk)
{
    const Py_ssize_t starts = (walk->groups * (walk->units + 2) * (Py_ssize_t)sizeof(int32_t) + 63) / 64 * 64;
    return walk->chunk * ((2 * walk->outputs * (Py_ssize_t)sizeof(REAL) + 63) / 64 * 64 + starts + (2 * walk->outputs + 63) / 64 * 64);
}

/* Take the memory of the chunk and of the threads from `base`, aligned; return the bytes needed. */
static Py_ssize_t NAME(take_memory)(NAME(walk) *walk, char *base)
{
    const Py_ssize_t edges = walk->chunk, each = edges * walk->outputs * (Py_ssize_t)sizeof(REAL);
    char *place = (char *)(((uintptr_t)base + 63) / 64 * 64);
    walk->scratch = (REAL *)place;
    place += walk->threads * walk->scratch_size * (Py_ssize_t)sizeof(REAL);
    walk->sorted = (REAL *)place, walk->pulled = (REAL *)(place + each);
    walk->starts = (int32_t *)(place + 2 * each);
    walk->ordered = (uint16_t *)(walk->starts + edges * walk->groups * (walk->units + 2));
    return 64 + walk->threads * walk->scratch_size * (Py_ssize_t)sizeof(REAL) + NAME(chunk_size)(walk);
}

/* Read (shift, inverse, then integers and addresses in the order below). */
static int NAME(read_walk)(NAME(walk) *walk, PyObject *args)
{
    enum { FIELDS = 43 };
    Py_ssize_t a[FIELDS], next = 0;
    if (PyTuple_Size(args) != FIELDS + 2) {
        PyErr_Format(PyExc_TypeError, "walk: found %zd arguments, expected %d", PyTuple_Size(args), FIELDS + 2);
        return 0;
    }
    const double shift = PyFloat_AsDouble(PyTuple_GetItem(args, 0)), inverse = PyFloat_AsDouble(PyTuple_GetItem(args, 1));
    for (Py_ssize_t field = 0; field < FIELDS; field++)
        a[field] = PyNumber_AsSsize_t(PyTuple_GetItem(args, field + 2), PyExc_OverflowError);
    if (PyErr_Occurred())
        return 0;
    memset(walk, 0, sizeof *walk);
    walk->threads = a[next++], walk->sources = a[next++], walk->phases = a[next++], walk->taps = a[next++];
    walk->lanes = a[next++], walk->readable = a[next++], walk->halo = a[next++], walk->outputs = a[next++];
    walk->units = a[next++], walk->columns = a[next++], walk->rows = a[next++], walk->group = a[next++];
    walk->chunk = a[next++], walk->order = a[next++];
    walk->tap_starts = (const int32_t *)a[next++], walk->tap_edges = (const int32_t *)a[next++];
    walk->shifts = (const int32_t *)a[next++], walk->mask = (const uint8_t *)a[next++];
    walk->x = (const REAL *)a[next++], walk->sigmoid = (const REAL *)a[next++];
    walk->x_source = a[next++], walk->x_lane = a[next++];
    walk->pieces = (const REAL *)a[next++], walk->slopes = (const REAL *)a[next++];
    walk->features = (const REAL *)a[next++], walk->feature_apart = a[next++];
    walk->prompts = (const REAL *)a[next++], walk->prompt_stride = a[next++];
    walk->kinks = (const REAL *)a[next++], walk->factors = (const REAL *)a[next++], walk->weights = (const REAL *)a[next++];
    walk->y = (REAL *)a[next++], walk->gradient = walk->y, walk->y_output = a[next++], walk->y_lane = a[next++];
    walk->x_gradient = (REAL *)a[next++], walk->features_gradient = (REAL *)a[next++];
    walk->dx_source = a[next++], walk->dx_lane = a[next++];
    walk->prompt_gradient = (REAL *)a[next++], walk->dz_stride = a[next++], walk->sums = (double *)a[next++];
    walk->memory = (char *)a[next++];
    walk->backward = a[next++];
    walk->knots = (NAME(knots)){(REAL)shift, (REAL)inverse, walk->rows - walk->order - 1};
    NAME(plan_walk)(walk, walk->backward);
    NAME(take_memory)(walk, walk->memory);
    return 1;
}

/* Return the bytes of memory that a walk takes beside its arguments. */
static PyObject *NAME(walk_memory)(PyObject *self, PyObject *args)
{
    NAME(walk) walk;
    if (!NAME(read_walk)(&walk, args))
        return NULL;
    return PyLong_FromSsize_t(NAME(take_memory)(&walk, NULL));
}

static PyObject *NAME(walk_run)(PyObject *self, PyObject *args)
{
    NAME(walk) walk;
    if (!NAME(read_walk)(&walk, args))
        return NULL;
    const Py_ssize_t edges = walk.sources / walk.phases * walk.taps, size = 2 * walk.units + walk.rows * walk.columns;
    const Py_ssize_t blocks = (walk.lanes + NAME(LANES) - 1) / NAME(LANES);
    double *sums = walk.sums;
    if (walk.backward && !(walk.sums = calloc((size_t)(walk.threads * size), sizeof(double))))
        return PyErr_NoMemory();
    for (walk.first = 0; walk.first < edges; walk.first += walk.chunk) {
        walk.count = edges - walk.first < walk.chunk ? edges - walk.first : walk.chunk;
        parallel(NAME(order_part), &walk, (walk.count + TILE - 1) / TILE, walk.threads);
        if (!walk.backward) {
            parallel(NAME(walk_part), &walk, blocks * walk.groups, walk.threads);
            continue;
        }
        memset(walk.pulled, 0, (size_t)(walk.count * walk.outputs) * sizeof(REAL));
        parallel(NAME(pull_part), &walk, walk.count / walk.taps * walk.phases, walk.threads);
        if (walk.prompt_gradient)
            parallel(NAME(unorder_part), &walk, (walk.count + TILE - 1) / TILE, walk.threads);
    }
    if (walk.backward) {
        gather_sums(sums, walk.sums, size, walk.threads);
        free(walk.sums);
    }
    Py_RETURN_NONE;
}
