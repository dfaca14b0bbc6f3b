/* The curve walk: the tables of a source along a stretch of lanes, and what their gradients become. */

/* Copy lanes of some outputs (or sources): into `block`, or back. Neighbours in memory are passed one after another. */
INLINED void NAME(fetch)(const REAL *from, Py_ssize_t output, Py_ssize_t lane, REAL *block, Py_ssize_t pitch, Py_ssize_t outputs,
                         Py_ssize_t present)
{
    if (output == 1) {
        const Py_ssize_t lanes = present / NAME(WIDE) * NAME(WIDE), rows = outputs / NAME(WIDE) * NAME(WIDE);
        NAME(transpose)(from, lane, block, pitch, lanes, rows);
        for (Py_ssize_t l = 0; l < present; l++)
            for (Py_ssize_t o = l < lanes ? rows : 0; o < outputs; o++)
                block[o * pitch + l] = from[o + l * lane];
    } else if (lane == 1)
        for (Py_ssize_t o = 0; o < outputs; o++)
            memcpy(block + o * pitch, from + o * output, (size_t)present * sizeof(REAL));
    else
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < present; l++)
                block[o * pitch + l] = from[o * output + l * lane];
    if (present < pitch)
        for (Py_ssize_t o = 0; o < outputs; o++)
            memset(block + o * pitch + present, 0, (size_t)(pitch - present) * sizeof(REAL));
}

INLINED void NAME(put)(REAL *to, Py_ssize_t output, Py_ssize_t lane, const REAL *block, Py_ssize_t pitch,
                       Py_ssize_t outputs, Py_ssize_t present)
{
    if (output == 1) {
        const Py_ssize_t lanes = present / NAME(WIDE) * NAME(WIDE), rows = outputs / NAME(WIDE) * NAME(WIDE);
        NAME(transpose)(block, pitch, to, lane, rows, lanes);
        for (Py_ssize_t l = 0; l < present; l++)
            for (Py_ssize_t o = l < lanes ? rows : 0; o < outputs; o++)
                to[o + l * lane] = block[o * pitch + l];
    } else
        for (Py_ssize_t o = 0; o < outputs; o++)
            for (Py_ssize_t l = 0; l < present; l++)
                to[o * output + l * lane] = block[o * pitch + l];
}

INLINED void NAME(evaluate_splines)(const NAME(walk) *walk, NAME(tables) *at, const REAL *x, const REAL *sigmoid,
                                    const Py_ssize_t order, int backward)
{
    const Py_ssize_t lanes = walk->table;
    const REAL *inside = at->inside;
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
    const Py_ssize_t readable = NAME(least)(walk->readable - low, lanes);
    const REAL *x = (walk->order < 0 ? walk->features : walk->x) + source * walk->x_source + low * walk->x_lane;
    for (Py_ssize_t l = 0; l < lanes; l++)
        at->inside[l] = l < readable && (!mask || mask[low + l]);
    if (walk->order < 0) {
        for (Py_ssize_t row = 0; row < walk->rows; row++)
            for (Py_ssize_t l = 0; l < lanes; l++)
                at->values[row * lanes + l] = at->inside[l] != 0 ? x[row * walk->feature_apart + l * walk->x_lane] : 0;
        return;
    }
    const REAL *points = at->points, *sigmoid = at->points + NAME(WIDE) * lanes;
    if (walk->x_source == 1) { /* neighbouring sources are neighbours in memory: several are read together */
        const Py_ssize_t first = source / NAME(WIDE) * NAME(WIDE), place = (source - first) * lanes;
        if (at->fetched != first) {
            const Py_ssize_t rows = NAME(least)(walk->sources - first, NAME(WIDE)), from = first + low * walk->x_lane;
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
        NAME(evaluate_splines)(walk, at, points, sigmoid, 3, backward);
    else
        NAME(evaluate_splines)(walk, at, points, sigmoid, walk->order, backward);
}

/* The units of each lane, and then the lanes of each unit. Pointers are copied: what is stored might change others. */
INLINED void NAME(mix)(const NAME(walk) *walk, NAME(tables) *at, const Py_ssize_t met, const Py_ssize_t columns, const int local)
{
    const Py_ssize_t lanes = walk->table;
    const REAL *values = at->values, *used = walk->used, *silu = used + (walk->rows - 1) * columns;
    const int32_t *cell = at->cell;
    REAL *rows = at->rows;
    for (Py_ssize_t l = 0; l < lanes; l++, values++, rows += columns) {
        const REAL *near = local ? used + cell[l] * columns : used;
#pragma GCC unroll 5
        for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE)) {
            NAME(wide) total = {0};
            for (Py_ssize_t r = 0; r < met - local; r++)
                total += values[r * lanes] * *(const NAME(wide) *)(near + r * columns + column);
            if (local)
                total += values[(met - 1) * lanes] * *(const NAME(wide) *)(silu + column);
            *(NAME(wide) *)(rows + column) = total;
        }
    }
    NAME(transpose)(at->rows, columns, at->units, lanes, lanes, columns);
}

/* Compiled for the published order, and for few segments, with loops of known length. */
#define FOR_FEATURES(walk, call, ...)                                                       \
    if ((walk)->order == 3 && (walk)->used_columns == 5 * NAME(WIDE))                       \
        call(__VA_ARGS__, 5, 5 * NAME(WIDE), 1);                                            \
    else if ((walk)->order == 3 && (walk)->used_columns == 2 * NAME(WIDE))                  \
        call(__VA_ARGS__, 5, 2 * NAME(WIDE), 1);                                            \
    else if ((walk)->order == 3)                                                            \
        call(__VA_ARGS__, 5, (walk)->used_columns, 1);                                      \
    else                                                                                    \
        call(__VA_ARGS__, NAME(met)(walk), (walk)->used_columns, (walk)->order >= 0);

/* Tables (segments, 2, lanes) of P and Q from the units; of Q alone for backward. */
INLINED void NAME(add_up)(const NAME(walk) *walk, const REAL *units, REAL *table, const int backward)
{
    const Py_ssize_t lanes = walk->table, changing = walk->high - walk->low;
    const REAL *b = walk->factors + walk->low, *w = b + walk->units, *change = w + 2 * walk->units;
    for (Py_ssize_t l = 0; l < lanes; l += NAME(LANES)) {
        NAME(wide) p[NAME(PARTS)], q[NAME(PARTS)];
        for (int k = 0; k < NAME(PARTS); k++) {
            p[k] = ((const NAME(wide) *)(units + changing * lanes + l))[k];
            q[k] = ((const NAME(wide) *)(units + (changing + 1) * lanes + l))[k];
        }
        for (Py_ssize_t h = 0;; h++) {
            NAME(wide) *to = (NAME(wide) *)(table + (walk->low + h) * 2 * lanes + l);
            NAME(wide) *next = (NAME(wide) *)(table + ((walk->low + h) * 2 + 1) * lanes + l);
            for (int k = 0; k < NAME(PARTS); k++) {
                if (!backward)
                    to[k] = p[k];
                next[k] = q[k];
            }
            if (h == changing)
                break;
            const NAME(wide) *unit = (const NAME(wide) *)(units + h * lanes + l);
            const REAL p_change = change[h] * b[h], q_change = change[h] * w[h];
            for (int k = 0; k < NAME(PARTS); k++) {
                if (!backward)
                    p[k] += p_change * unit[k];
                q[k] += q_change * unit[k];
            }
        }
    }
}

INLINED void NAME(make_tables)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t source, Py_ssize_t low, REAL *table,
                               const int backward)
{
    NAME(look)(walk, at, source, low, backward);
    FOR_FEATURES(walk, NAME(mix), walk, at)
    NAME(add_up)(walk, at->units, table, backward);
}

/* Turn the gradient of the tables into that of the units, in their place, and add up that of b and w. */
INLINED void NAME(pull_tables)(const NAME(walk) *walk, NAME(tables) *at)
{
    const Py_ssize_t lanes = walk->table, changing = walk->high - walk->low;
    const REAL *b = walk->factors + walk->low, *w = b + walk->units, *change = w + 2 * walk->units;
    NAME(wide) *recent = (NAME(wide) *)at->recent;
    for (Py_ssize_t l = 0; l < lanes; l += NAME(LANES)) {
        NAME(wide) above_p[NAME(PARTS)] = {{0}}, above_q[NAME(PARTS)] = {{0}};
        for (Py_ssize_t h = changing;; h--) {
            const NAME(wide) *dp = (const NAME(wide) *)(at->gradients + (walk->low + h) * 2 * lanes + l);
            const NAME(wide) *dq = (const NAME(wide) *)(at->gradients + ((walk->low + h) * 2 + 1) * lanes + l);
            for (int k = 0; k < NAME(PARTS); k++)
                above_p[k] += dp[k], above_q[k] += dq[k];
            if (!h)
                break;
            NAME(wide) *units = (NAME(wide) *)(at->units + (h - 1) * lanes + l), sum_p = {0}, sum_q = {0};
            for (int k = 0; k < NAME(PARTS); k++) {
                const NAME(wide) p = change[h - 1] * above_p[k], q = change[h - 1] * above_q[k];
                sum_p += units[k] * p, sum_q += units[k] * q;
                units[k] = b[h - 1] * p + w[h - 1] * q;
            }
            recent[2 * h - 2] += sum_p, recent[2 * h - 1] += sum_q;
        }
        for (int k = 0; k < NAME(PARTS); k++) {
            ((NAME(wide) *)(at->units + changing * lanes + l))[k] = above_p[k];
            ((NAME(wide) *)(at->units + (changing + 1) * lanes + l))[k] = above_q[k];
        }
    }
}

/* Add up the gradient of the weights from that of the units of each lane. Neighbouring lanes add to the same rows, and
 * each waits for the one before: all columns of a lane come together, so that there is something to do meanwhile.
 */
INLINED void NAME(pull_weights)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t lanes, const Py_ssize_t met,
                                const Py_ssize_t columns, const int local)
{
    const Py_ssize_t pitch = walk->table;
    REAL *sums = at->recent + 2 * (walk->high - walk->low) * NAME(WIDE), *silu = sums + (walk->rows - 1) * columns;
    const int32_t *cell = at->cell;
    const REAL *values = at->values, *rows = at->rows;
    for (Py_ssize_t l = 0; l < lanes; l++, values++, rows += columns) {
        REAL *near = local ? sums + cell[l] * columns : sums;
        for (Py_ssize_t r = 0; r < met; r++) {
            REAL *to = local && r == met - 1 ? silu : near + r * columns;
            const REAL value = values[r * pitch];
#pragma GCC unroll 5
            for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE))
                *(NAME(wide) *)(to + column) += value * *(const NAME(wide) *)(rows + column);
        }
    }
}

/* Add the gradient of the samples to `found`. */
INLINED void NAME(pull_samples)(const NAME(walk) *walk, NAME(tables) *at, REAL *found, Py_ssize_t lanes, const Py_ssize_t met,
                                const Py_ssize_t columns, const int local)
{
    const Py_ssize_t pitch = walk->table, apart = walk->dx_lane;
    const REAL *used = walk->used, *silu = used + (walk->rows - 1) * columns;
    const int32_t *cell = at->cell;
    for (Py_ssize_t first = 0; first < lanes; first += NAME(WIDE)) {
        NAME(wide) r[NAME(WIDE)];
        for (Py_ssize_t l = 0; l < NAME(WIDE); l++) {
            const REAL *slope = at->slope + first + l, *rows = at->rows + (first + l) * columns;
            const REAL *near = local ? used + cell[first + l] * columns : used;
            r[l] = (NAME(wide)){0};
#pragma GCC unroll 5
            for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE)) {
                NAME(wide) mixed = {0};
                for (Py_ssize_t n = 0; n < met - local; n++)
                    mixed += slope[n * pitch] * *(const NAME(wide) *)(near + n * columns + column);
                if (local)
                    mixed += slope[(met - 1) * pitch] * *(const NAME(wide) *)(silu + column);
                r[l] += mixed * *(const NAME(wide) *)(rows + column);
            }
        }
        SWAPS(NAME(wide_indices), r)
        for (int k = 1; k < NAME(WIDE); k++)
            r[0] += r[k];
        for (Py_ssize_t l = 0; l < NAME(WIDE) && first + l < lanes; l++)
            found[(first + l) * apart] += r[0][l];
    }
}

/* The same for features that are given. */
INLINED void NAME(pull_features)(const NAME(walk) *walk, NAME(tables) *at, REAL *features, Py_ssize_t lanes)
{
    const Py_ssize_t columns = walk->used_columns;
    for (Py_ssize_t l = 0; l < lanes; l++)
        for (Py_ssize_t r = 0; r < walk->rows; r++) {
            const REAL *weights = walk->used + r * columns, *rows = at->rows + l * columns;
            NAME(wide) total = {0};
            for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE))
                total += *(const NAME(wide) *)(weights + column) * *(const NAME(wide) *)(rows + column);
            REAL sum = 0;
            for (int k = 0; k < NAME(WIDE); k++)
                sum += total[k];
            features[r * walk->feature_apart + l * walk->dx_lane] += sum;
        }
}

/* From the gradient of the units of each lane: those of the weights and of the samples of a source. */
INLINED void NAME(pull_lanes)(const NAME(walk) *walk, NAME(tables) *at, Py_ssize_t source, Py_ssize_t low)
{
    const Py_ssize_t lanes = NAME(least)(walk->table, walk->readable - low), place = source * walk->dx_source + low * walk->dx_lane;
    FOR_FEATURES(walk, NAME(pull_weights), walk, at, lanes)
    if (walk->x_gradient) {
        FOR_FEATURES(walk, NAME(pull_samples), walk, at, walk->x_gradient + place, lanes)
    }
    if (walk->features_gradient)
        NAME(pull_features)(walk, at, walk->features_gradient + place, lanes);
}

INLINED void NAME(flush_walk)(const NAME(walk) *walk, NAME(tables) *at, int thread)
{
    const Py_ssize_t count = 2 * (walk->high - walk->low), size = walk->rows * walk->used_columns;
    double *found = walk->found + walk->found_size * thread;
    REAL *weights = at->recent + count * NAME(WIDE);
    for (Py_ssize_t h = 0; h < count; h++)
        for (Py_ssize_t k = 0; k < NAME(WIDE); k++)
            found[h] += at->recent[h * NAME(WIDE) + k];
    for (Py_ssize_t place = 0; place < size; place++)
        found[count + place] += weights[place];
    memset(at->recent, 0, (size_t)(count * NAME(WIDE) + size) * sizeof(REAL));
}
