package dev.pocketvec.bench

import kotlin.math.abs
import kotlin.math.floor

private const val WINDOW = 5
private const val DRIFT = 0.05

/** Runs before the first look at whether they have settled. */
internal const val LEAST_WARM_UP: Int = 2 * WINDOW

/**
 * A quantile by linear interpolation between the two nearest values, as in numpy and the host's reports.
 *
 * @param share from 0 to 1.
 */
public fun quantile(values: List<Double>, share: Double): Double {
    require(values.isNotEmpty() && share in 0.0..1.0) { "quantile $share of ${values.size} values" }
    val sorted = values.sorted()
    val place = share * (sorted.size - 1)
    val below = floor(place).toInt()
    val above = (below + 1).coerceAtMost(sorted.size - 1)
    return sorted[below] + (place - below) * (sorted[above] - sorted[below])
}

/** Whether the medians of the last two windows of timings are alike. */
internal fun isSettled(ms: List<Double>): Boolean {
    if (ms.size < LEAST_WARM_UP) return false
    val before = quantile(ms.subList(ms.size - LEAST_WARM_UP, ms.size - WINDOW), 0.5)
    return abs(quantile(ms.takeLast(WINDOW), 0.5) - before) <= DRIFT * before
}
