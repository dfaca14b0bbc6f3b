/* A few piecewise polynomials of all inputs, for one type REAL; included once for each.
 *
 * The points are (rows, channels, inner). The last function is summed over the channels, the others are not.
 */

typedef struct {
    const REAL *x;
    Py_ssize_t rows, channels, inner;
    NAME(knots) knots;
    Py_ssize_t functions, order;
    const REAL *table;          /* coefficients (cells, functions, order + 1) in rising powers */
    const REAL *factors;        /* of SiLU, (functions) */
    const REAL *sigmoid;        /* at the points */
    REAL *values, *totals;      /* (functions - 1, points), `apart` from each other, and (rows, inner), or */
    Py_ssize_t apart;
    const REAL *gradient, *totals_gradient;
    REAL *found;                /* that of the points, unless it is null, which may lie where `gradient` does, */
    double *sums;               /* and that of the table and then of the factors, one for each thread, */
    REAL *recent;               /* to which those of the last points are still to be added */
} NAME(pieces);

/* A block of neighbouring points of one row: what each function needs of them, in loops that vectorise. */
typedef struct {
    Py_ssize_t first, count;
    int32_t cell[BLOCK]; /* place in the table */
    REAL place[BLOCK], silu[BLOCK];
} NAME(block);

INLINED void NAME(locate_block)(const NAME(pieces) *call, NAME(block) *block, const Py_ssize_t each)
{
    const REAL *restrict x = call->x + block->first, *restrict sigmoid = call->sigmoid + block->first;
    const NAME(knots) knots = call->knots;
#pragma omp simd
    for (Py_ssize_t i = 0; i < block->count; i++) {
        block->cell[i] = NAME(locate)(knots, x[i], &block->place[i]) * (int32_t)each;
        block->silu[i] = NAME(silu)(x[i], sigmoid[i]);
    }
}

INLINED REAL NAME(total)(const REAL *values, Py_ssize_t count)
{
    REAL total = 0;
#pragma omp simd reduction(+ : total)
    for (Py_ssize_t i = 0; i < count; i++)
        total += values[i];
    return total;
}

INLINED void NAME(pieces_values_range)(const NAME(pieces) *call, Py_ssize_t start, Py_ssize_t stop,
                                       const Py_ssize_t functions, const Py_ssize_t order)
{
    const Py_ssize_t inner = call->inner, width = call->channels * inner, each = functions * (order + 1);
    NAME(block) block;
    REAL results[BLOCK];
    for (Py_ssize_t row = start; row < stop; row++) {
        REAL *totals = call->totals + row * inner;
        double single = 0; /* the total where there is one */
        for (Py_ssize_t column = 0; column < width; column += BLOCK) {
            block.first = row * width + column;
            block.count = width - column < BLOCK ? width - column : BLOCK;
            NAME(locate_block)(call, &block, each);
            for (Py_ssize_t c = 0; c < functions; c++) {
                const REAL *restrict table = call->table + c * (order + 1), factor = call->factors[c];
                REAL *restrict out = c < functions - 1 ? call->values + c * call->apart + block.first : results;
#pragma omp simd
                for (Py_ssize_t i = 0; i < block.count; i++) {
                    REAL value = table[block.cell[i] + order];
                    for (int32_t power = (int32_t)order - 1; power >= 0; power--)
                        value = value * block.place[i] + table[block.cell[i] + power];
                    out[i] = value + factor * block.silu[i];
                }
            }
            if (inner == 1)
                single += NAME(total)(results, block.count);
            else
                for (Py_ssize_t i = 0; i < block.count; i++)
                    totals[(column + i) % inner] += results[i];
        }
        if (inner == 1)
            totals[0] = (REAL)single;
    }
}

/* Add the gradient of the polynomials to the sums, and write that of the places of the points. */
INLINED void NAME(pull_polynomials)(const NAME(pieces) *call, const NAME(block) *block, const REAL *const *pulled,
                                    REAL *recent, REAL *places, const Py_ssize_t functions, const Py_ssize_t order)
{
    for (Py_ssize_t i = 0; i < block->count; i++) {
        const REAL place = block->place[i], *table = call->table + block->cell[i];
        REAL *moments = recent + block->cell[i], powers[MOST_ORDER + 1], total = 0;
        powers[0] = 1;
        for (Py_ssize_t power = 1; power <= order; power++)
            powers[power] = powers[power - 1] * place;
        for (Py_ssize_t c = 0; c < functions; c++)
            for (Py_ssize_t power = 0; power <= order; power++)
                moments[c * (order + 1) + power] += pulled[c][i] * powers[power];
        for (Py_ssize_t c = 0; c < functions; c++) {
            REAL slope = 0;
            for (Py_ssize_t power = order; power > 0; power--)
                slope = slope * place + (REAL)power * table[c * (order + 1) + power];
            total += pulled[c][i] * slope;
        }
        places[i] = total;
    }
}

#if defined(__GNUC__)
typedef REAL NAME(four) __attribute__((vector_size(4 * sizeof(REAL))));

/* The same for cubic polynomials, whose coefficients are one vector. */
INLINED void NAME(pull_cubics)(const NAME(pieces) *call, const NAME(block) *block, const REAL *const *pulled,
                               REAL *recent, REAL *places, const Py_ssize_t functions)
{
    for (Py_ssize_t i = 0; i < block->count; i++) {
        const REAL place = block->place[i], square = place * place, *table = call->table + block->cell[i];
        const NAME(four) powers = {1, place, square, square * place};
        NAME(four) mixed = {0, 0, 0, 0};
        for (Py_ssize_t c = 0; c < functions; c++) {
            REAL *moments = recent + block->cell[i] + 4 * c;
            NAME(four) sum, piece;
            memcpy(&sum, moments, sizeof sum);
            memcpy(&piece, table + 4 * c, sizeof piece);
            sum += powers * pulled[c][i];
            mixed += piece * pulled[c][i];
            memcpy(moments, &sum, sizeof sum);
        }
        places[i] = mixed[1] + 2 * place * mixed[2] + 3 * square * mixed[3];
    }
}
#endif

/* Turn the gradient of the places of a block into that of its points, and add that of the factors to their sums. */
INLINED void NAME(pull_silu)(const NAME(pieces) *call, const NAME(block) *block, const REAL *const *pulled, REAL *sums,
                             REAL *places, const Py_ssize_t functions)
{
    const REAL *restrict x = call->x + block->first, *restrict sigmoid = call->sigmoid + block->first;
    const REAL inverse = call->knots.inverse;
    REAL factor[BLOCK] = {0};
    for (Py_ssize_t c = 0; c < functions; c++) {
        const REAL *restrict gradient = pulled[c], own = call->factors[c];
        REAL total = 0;
#pragma omp simd reduction(+ : total)
        for (Py_ssize_t i = 0; i < block->count; i++) {
            total += gradient[i] * block->silu[i];
            factor[i] += gradient[i] * own;
        }
        sums[c] += total;
    }
#pragma omp simd
    for (Py_ssize_t i = 0; i < block->count; i++)
        places[i] = places[i] * inverse + factor[i] * NAME(silu_slope)(x[i], sigmoid[i]);
}

INLINED void NAME(pieces_pull_range)(const NAME(pieces) *call, Py_ssize_t start, Py_ssize_t stop, int thread,
                                     const Py_ssize_t functions, const Py_ssize_t order)
{
    const Py_ssize_t inner = call->inner, width = call->channels * inner;
    const Py_ssize_t each = functions * (order + 1), size = call->knots.cells * each;
    double *sums = call->sums + (size + functions) * thread;
    REAL *recent = call->recent + (size + functions) * thread, of_totals[BLOCK];
    const REAL *pulled[MOST_FUNCTIONS];
    REAL places[BLOCK];
    Py_ssize_t pending = 0;
    NAME(block) block;
    for (Py_ssize_t row = start; row < stop; row++) {
        for (Py_ssize_t column = 0; column < width; column += BLOCK) {
            block.first = row * width + column;
            block.count = width - column < BLOCK ? width - column : BLOCK;
            NAME(locate_block)(call, &block, each);
            for (Py_ssize_t c = 0; c < functions - 1; c++)
                pulled[c] = call->gradient + c * call->apart + block.first;
            for (Py_ssize_t i = 0; i < block.count; i++)
                of_totals[i] = call->totals_gradient[row * inner + (inner == 1 ? 0 : (column + i) % inner)];
            pulled[functions - 1] = of_totals;
#if defined(__GNUC__)
            if (order == 3)
                NAME(pull_cubics)(call, &block, pulled, recent, places, functions);
            else
#endif
                NAME(pull_polynomials)(call, &block, pulled, recent, places, functions, order);
            NAME(pull_silu)(call, &block, pulled, recent + size, places, functions);
            if (call->found)
                memcpy(call->found + block.first, places, (size_t)block.count * sizeof(REAL));
            pending += block.count;
            if (pending >= FLUSHED) {
                NAME(flush)(sums, recent, size + functions);
                pending = 0;
            }
        }
    }
    NAME(flush)(sums, recent, size + functions);
}

VECTORISED static void NAME(pieces_values_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(pieces) *call = data;
    (void)thread;
    if (call->functions == 2 && call->order == 3)
        NAME(pieces_values_range)(call, start, stop, 2, 3);
    else
        NAME(pieces_values_range)(call, start, stop, call->functions, call->order);
}

VECTORISED static void NAME(pieces_pull_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(pieces) *call = data;
    if (call->functions == 2 && call->order == 3)
        NAME(pieces_pull_range)(call, start, stop, thread, 2, 3);
    else
        NAME(pieces_pull_range)(call, start, stop, thread, call->functions, call->order);
}

/* (threads, x, rows, channels, inner, shift, inverse, cells, functions, order, table, factors, sigmoid, values,
 *  apart, totals); the totals start at zero */
static PyObject *NAME(pieces_values)(PyObject *self, PyObject *args)
{
    NAME(pieces) call;
    Py_ssize_t threads, x, cells, table, factors, sigmoid, values, totals;
    double shift, inverse;
    if (!PyArg_ParseTuple(args, "nnnnnddnnnnnnnnn", &threads, &x, &call.rows, &call.channels, &call.inner, &shift,
                          &inverse, &cells, &call.functions, &call.order, &table, &factors, &sigmoid, &values,
                          &call.apart, &totals))
        return NULL;
    call.x = (const REAL *)x, call.table = (const REAL *)table, call.factors = (const REAL *)factors;
    call.sigmoid = (const REAL *)sigmoid, call.values = (REAL *)values, call.totals = (REAL *)totals;
    call.knots = (NAME(knots)){(REAL)shift, (REAL)inverse, cells};
    parallel(NAME(pieces_values_part), &call, call.rows, threads);
    Py_RETURN_NONE;
}

/* (threads, x, rows, channels, inner, shift, inverse, cells, functions, order, table, factors, sigmoid, gradient,
 *  apart, that of the totals, found, sums) */
static PyObject *NAME(pieces_pull)(PyObject *self, PyObject *args)
{
    NAME(pieces) call;
    Py_ssize_t threads, x, cells, table, factors, sigmoid, gradient, totals_gradient, found, sums;
    double shift, inverse;
    if (!PyArg_ParseTuple(args, "nnnnnddnnnnnnnnnnn", &threads, &x, &call.rows, &call.channels, &call.inner, &shift,
                          &inverse, &cells, &call.functions, &call.order, &table, &factors, &sigmoid, &gradient,
                          &call.apart, &totals_gradient, &found, &sums))
        return NULL;
    call.x = (const REAL *)x, call.table = (const REAL *)table, call.factors = (const REAL *)factors;
    call.sigmoid = (const REAL *)sigmoid, call.gradient = (const REAL *)gradient;
    call.totals_gradient = (const REAL *)totals_gradient, call.found = (REAL *)found;
    call.knots = (NAME(knots)){(REAL)shift, (REAL)inverse, cells};
    const Py_ssize_t size = call.functions * (cells * (call.order + 1) + 1);
    call.sums = calloc((size_t)(threads * size), sizeof(double) + sizeof(REAL));
    if (!call.sums)
        return PyErr_NoMemory();
    call.recent = (REAL *)(call.sums + threads * size);
    parallel(NAME(pieces_pull_part), &call, call.rows, threads);
    gather_sums((double *)sums, call.sums, size, threads);
    free(call.sums);
    Py_RETURN_NONE;
}
