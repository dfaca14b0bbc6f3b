/* The curve walk: which segment each prompt lies on, and the orders in which the passes meet the edges of a chunk. */

/* Groups of edges that forward adds together: `size` of those at `place` in their tile; return the next place. */
INLINED Py_ssize_t NAME(together)(Py_ssize_t place, Py_ssize_t stop, Py_ssize_t *size)
{
    const Py_ssize_t left = stop - place, groups = (left + MOST_TOGETHER - 1) / MOST_TOGETHER;
    *size = (left + groups - 1) / groups;
    return place + *size;
}

INLINED Py_ssize_t NAME(padded)(Py_ssize_t outputs)
{
    return (outputs + NAME(WIDE) - 1) / NAME(WIDE) * NAME(WIDE);
}

/* Copy the prompts of a tile of edges: (edges, outputs), the last one repeated up to a whole vector. */
INLINED void NAME(read_tile)(const NAME(walk) *walk, Py_ssize_t first, Py_ssize_t width, REAL *own)
{
    const Py_ssize_t outputs = walk->outputs, padded = NAME(padded)(outputs);
    const Py_ssize_t rows = outputs / NAME(WIDE) * NAME(WIDE), columns = width / NAME(WIDE) * NAME(WIDE);
    const REAL *from = walk->prompts + walk->first + first;
    for (Py_ssize_t o = 0; walk->taps == 1 && o < rows; o += NAME(WIDE)) {
#if defined(__GNUC__)
        for (Py_ssize_t row = o + 2 * NAME(WIDE); row < o + 3 * NAME(WIDE) && row < outputs; row++)
            __builtin_prefetch(from + row * walk->prompt_stride);
#endif
        NAME(transpose)(from + o * walk->prompt_stride, walk->prompt_stride, own + o, padded, NAME(WIDE), columns);
    }
    for (Py_ssize_t t = 0; t < width; t++) {
        const Py_ssize_t edge = walk->taps == 1 ? t : walk->tap_edges[t];
        for (Py_ssize_t o = walk->taps == 1 && t < columns ? rows : 0; o < outputs; o++)
            own[t * padded + o] = from[o * walk->prompt_stride + edge];
        for (Py_ssize_t o = outputs; o < padded; o++)
            own[t * padded + o] = own[t * padded + outputs - 1];
    }
}

/* Count the kinks below some prompts, of which there are `lowest` at least. */
INLINED void NAME(count_kinks)(const REAL *kinks, Py_ssize_t lowest, Py_ssize_t high, const REAL *own, int32_t *segments,
                               const int parts)
{
    NAME(wide_indices) above[NAME(PARTS)];
    for (int k = 0; k < parts; k++)
        above[k] = (NAME(wide_indices)){0} + (INTEGER)lowest;
    for (Py_ssize_t h = lowest; h < high; h++) {
        const NAME(wide) kink = (NAME(wide)){0} + kinks[h];
        for (int k = 0; k < parts; k++)
            above[k] -= ((const NAME(wide) *)own)[k] > kink;
    }
    for (int k = 0; k < parts; k++)
        for (int n = 0; n < NAME(WIDE); n++)
            segments[k * NAME(WIDE) + n] = (int32_t)above[k][n];
}

/* Find the segments of an edge's prompts, and widen `range` to them. */
INLINED void NAME(find_segments)(const NAME(walk) *walk, const REAL *own, int32_t *segments, int32_t *range)
{
    const Py_ssize_t padded = NAME(padded)(walk->outputs);
    NAME(wide) least = *(const NAME(wide) *)own, most = least;
    NAME(wide_indices) odd = {0};
    for (Py_ssize_t o = 0; o < padded; o += NAME(WIDE)) {
        const NAME(wide) z = *(const NAME(wide) *)(own + o);
        const NAME(wide_indices) below = z < least, above = z > most;
        least = CHOOSE(below, z, least), most = CHOOSE(above, z, most), odd |= z != z;
    }
    REAL smallest = least[0], greatest = most[0];
    int any = odd[0] != 0;
    for (int k = 1; k < NAME(WIDE); k++) {
        smallest = least[k] < smallest ? least[k] : smallest, greatest = most[k] > greatest ? most[k] : greatest;
        any |= odd[k] != 0;
    }
    Py_ssize_t lowest = 0, high = 0;
    while (!any && lowest < walk->units && walk->kinks[lowest] < smallest)
        lowest++;
    for (high = lowest; high < walk->units && (any || walk->kinks[high] < greatest);)
        high++; /* what is not a number lies on the first segment, and may hide the bounds of others */
    Py_ssize_t o = 0;
    for (; o + NAME(PARTS) * NAME(WIDE) <= padded; o += NAME(PARTS) * NAME(WIDE))
        NAME(count_kinks)(walk->kinks, lowest, high, own + o, segments + o, NAME(PARTS));
    for (; o < padded; o += NAME(WIDE))
        NAME(count_kinks)(walk->kinks, lowest, high, own + o, segments + o, 1);
    range[0] = lowest < range[0] ? (int32_t)lowest : range[0], range[1] = high > range[1] ? (int32_t)high : range[1];
}

/* For forward: prompts, and their rows of the tables, of edges that are added together. */
VECTORISED static void NAME(join_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    const Py_ssize_t outputs = walk->outputs, padded = NAME(padded)(outputs);
    REAL *own = walk->scratch + walk->scratch_size * thread;
    int32_t *segments = (int32_t *)(own + walk->tile * padded);
    for (Py_ssize_t tile = start; tile < stop; tile++) {
        const Py_ssize_t first = tile * walk->tile, width = NAME(least)(walk->count - first, walk->tile);
        int32_t *range = walk->ranges + 2 * tile;
        range[0] = (int32_t)walk->units, range[1] = 0;
        NAME(read_tile)(walk, first, width, own);
        for (Py_ssize_t t = 0; t < width; t++)
            NAME(find_segments)(walk, own + t * padded, segments + t * padded, range);
        for (Py_ssize_t phase = 0; phase < walk->phases; phase++) {
            Py_ssize_t size, place = walk->taps == 1 ? 0 : walk->tap_starts[phase];
            const Py_ssize_t end = walk->taps == 1 ? width : walk->tap_starts[phase + 1];
            for (Py_ssize_t next; place < end; place = next) {
                next = walk->taps == 1 ? place + (size = NAME(least)(end - place, MOST_TOGETHER)) : NAME(together)(place, end, &size);
                REAL *sorted = walk->sorted + (first + place) * outputs;
                uint16_t *own_segments = walk->segments + (first + place) * outputs;
                for (Py_ssize_t o = 0; o < outputs; o++)
                    for (Py_ssize_t s = 0; s < size; s++) {
                        sorted[o * size + s] = own[(place + s) * padded + o];
                        own_segments[o * size + s] = (uint16_t)segments[(place + s) * padded + o];
                    }
            }
        }
    }
}

/* Order the outputs of an edge by segment, each segment filled up to a multiple of four. */
INLINED void NAME(order_edge)(const NAME(walk) *walk, const REAL *own, const int32_t *segments, Py_ssize_t edge, int32_t low,
                              int32_t high, int32_t *counts)
{
    const Py_ssize_t outputs = walk->outputs, apart = walk->units + 1;
    REAL *sorted = walk->sorted + edge * walk->places;
    uint16_t *ordered = walk->ordered + edge * walk->places;
    int32_t *ends = walk->ends + edge * apart, total = 0;
    for (int part = 0; part < 4; part++)
        memset(counts + part * apart + low, 0, (size_t)(high - low + 1) * sizeof *counts);
    Py_ssize_t o = 0;
    for (; o + 4 <= outputs; o += 4)
        for (int part = 0; part < 4; part++)
            counts[part * apart + segments[o + part]]++;
    for (; o < outputs; o++)
        counts[segments[o]]++;
    for (int32_t s = low; s <= high; s++) {
        const int32_t count = counts[s] + counts[apart + s] + counts[2 * apart + s] + counts[3 * apart + s];
        counts[s] = total;
        for (int32_t k = total + count; k % 4; k++)
            sorted[k] = 0, ordered[k] = (uint16_t)outputs;
        total += (count + 3) / 4 * 4;
        ends[s] = total;
    }
    for (Py_ssize_t s = 0; s < apart; s++)
        ends[s] = s < low ? 0 : s > high ? total : ends[s];
    for (o = 0; o < outputs; o++) {
        const int32_t place = counts[segments[o]]++;
        ordered[place] = (uint16_t)o, sorted[place] = own[o];
    }
}

VECTORISED static void NAME(order_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    const Py_ssize_t padded = NAME(padded)(walk->outputs);
    REAL *own = walk->scratch + walk->scratch_size * thread;
    int32_t *segments = (int32_t *)(own + walk->tile * padded), *counts = segments + padded;
    for (Py_ssize_t tile = start; tile < stop; tile++) {
        const Py_ssize_t first = tile * walk->tile, width = NAME(least)(walk->count - first, walk->tile);
        int32_t *range = walk->ranges + 2 * tile;
        range[0] = (int32_t)walk->units, range[1] = 0;
        NAME(read_tile)(walk, first, width, own);
        for (Py_ssize_t t = 0; t < width; t++) {
            int32_t met[2] = {(int32_t)walk->units, 0};
            NAME(find_segments)(walk, own + t * padded, segments, met);
            NAME(order_edge)(walk, own + t * padded, segments, first + t, met[0], met[1], counts);
            range[0] = met[0] < range[0] ? met[0] : range[0], range[1] = met[1] > range[1] ? met[1] : range[1];
        }
    }
}

VECTORISED static void NAME(unorder_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(walk) *walk = data;
    REAL *found = walk->scratch + walk->scratch_size * thread;
    for (Py_ssize_t tile = start; tile < stop; tile++) {
        const Py_ssize_t first = tile * walk->tile, width = NAME(least)(walk->count - first, walk->tile);
        for (Py_ssize_t t = 0; t < width; t++) {
            const uint16_t *ordered = walk->ordered + (first + t) * walk->places;
            const REAL *pulled = walk->pulled + (first + t) * walk->places;
            const Py_ssize_t count = walk->ends[(first + t) * (walk->units + 1) + walk->units];
            for (Py_ssize_t k = 0; k < count; k++)
                found[ordered[k] * walk->tile + t] = pulled[k];
        }
        REAL *to = walk->prompt_gradient + walk->first + first;
        for (Py_ssize_t o = 0; o < walk->outputs; o++)
            for (Py_ssize_t t = 0; t < width; t++)
                to[o * walk->dz_stride + (walk->taps == 1 ? t : walk->tap_edges[t])] = found[o * walk->tile + t];
    }
}

/* ---- The units that change among the prompts of a chunk ---- */

static void NAME(find_range)(NAME(walk) *walk, Py_ssize_t tiles)
{
    walk->low = walk->units, walk->high = 0;
    for (Py_ssize_t tile = 0; tile < tiles; tile++) {
        walk->low = NAME(least)(walk->low, walk->ranges[2 * tile]);
        walk->high = walk->ranges[2 * tile + 1] > walk->high ? walk->ranges[2 * tile + 1] : walk->high;
    }
    walk->used_columns = NAME(padded)(walk->high - walk->low + 2);
}

/* Whether a unit is active on the least segment of the chunk. */
INLINED double NAME(active)(const NAME(walk) *walk, Py_ssize_t unit)
{
    const REAL *before = walk->factors + 2 * walk->units, *change = before + walk->units;
    return unit < walk->low ? before[unit] + change[unit] : before[unit];
}

static void NAME(choose_units)(NAME(walk) *walk)
{
    const Py_ssize_t units = walk->units, changing = walk->high - walk->low;
    const REAL *b = walk->factors, *w = b + units;
    memset(walk->used, 0, (size_t)(walk->rows * walk->used_columns) * sizeof(REAL));
    for (Py_ssize_t row = 0; row < walk->rows; row++) {
        const REAL *weights = walk->weights + row * walk->columns;
        REAL *used = walk->used + row * walk->used_columns;
        double p = weights[units], q = 0;
        for (Py_ssize_t h = 0; h < units; h++)
            if (NAME(active)(walk, h) != 0)
                p += (double)b[h] * weights[h], q += (double)w[h] * weights[h];
        for (Py_ssize_t h = 0; h < changing; h++)
            used[h] = weights[walk->low + h];
        used[changing] = (REAL)p, used[changing + 1] = (REAL)q;
    }
}

/* Add the gradients of the chunk to those of all units. */
static void NAME(pull_units)(NAME(walk) *walk)
{
    const Py_ssize_t units = walk->units, changing = walk->high - walk->low, columns = walk->used_columns;
    const REAL *b = walk->factors, *w = b + units;
    double *sums = walk->sums, *weights_sums = sums + 2 * units, *found = walk->found;
    for (Py_ssize_t thread = 1; thread < walk->threads; thread++)
        for (Py_ssize_t index = 0; index < 2 * changing + walk->rows * columns; index++)
            found[index] += found[thread * walk->found_size + index];
    for (Py_ssize_t h = 0; h < 2 * changing; h++)
        sums[2 * walk->low + h] += found[h];
    for (Py_ssize_t row = 0; row < walk->rows; row++) {
        const REAL *weights = walk->weights + row * walk->columns;
        const double *own = found + 2 * changing + row * columns, p = own[changing], q = own[changing + 1];
        double *to = weights_sums + row * walk->columns;
        for (Py_ssize_t h = 0; h < changing; h++)
            to[walk->low + h] += own[h];
        for (Py_ssize_t h = 0; h < units; h++)
            if (NAME(active)(walk, h) != 0) {
                to[h] += b[h] * p + w[h] * q;
                sums[2 * h] += weights[h] * p, sums[2 * h + 1] += weights[h] * q;
            }
        to[units] += p;
    }
}
