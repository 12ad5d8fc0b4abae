package dev.pocketvec.tokenizer

/** A binary heap of numbers that gives the least first. */
internal class LongHeap(capacity: Int) {
    private var numbers = LongArray(maxOf(capacity, 1))
    private var size = 0

    val isEmpty: Boolean
        get() = size == 0

    fun add(number: Long) {
        if (size == numbers.size) numbers = numbers.copyOf(2 * size)
        var hole = size++
        while (hole > 0 && numbers[(hole - 1) / 2] > number) {
            numbers[hole] = numbers[(hole - 1) / 2]
            hole = (hole - 1) / 2
        }
        numbers[hole] = number
    }

    fun poll(): Long {
        val least = numbers[0]
        val last = numbers[--size]
        var hole = 0
        while (true) {
            val child = lesserChild(hole)
            if (child >= size || numbers[child] >= last) break
            numbers[hole] = numbers[child]
            hole = child
        }
        numbers[hole] = last
        return least
    }

    private fun lesserChild(parent: Int): Int {
        val child = 2 * parent + 1
        return if (child + 1 < size && numbers[child + 1] < numbers[child]) child + 1 else child
    }
}
