package dev.pocketvec.bench

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

class StatisticsTest {
    @Test
    fun `quantiles are numpy's`() {
        val values = listOf(9.0, 1.0, 4.0, 2.5, 7.0) // numpy.quantile gives these
        assertEquals(4.0, quantile(values, 0.5), 1e-12)
        assertEquals(8.2, quantile(values, 0.9), 1e-12)
        assertEquals(8.92, quantile(values, 0.99), 1e-12)
        assertEquals(1.0, quantile(values, 0.0), 0.0)
        assertEquals(9.0, quantile(values, 1.0), 0.0)
    }

    @Test
    fun `timings settle when two windows are alike`() {
        assertFalse(isSettled(List(9) { 1.0 }))
        assertTrue(isSettled(List(10) { 1.0 }))
        assertTrue(isSettled(listOf(99.0) + List(5) { 1.0 } + List(5) { 1.04 }))
        assertFalse(isSettled(List(5) { 1.0 } + List(5) { 1.06 }))
    }
}
