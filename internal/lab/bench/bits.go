package bench

// bits is a set of indexes, one bit each.
type bits struct{ words []uint64 }

// set adds an index and reports whether it was new.
func (b *bits) set(i int) bool {
	for len(b.words) <= i/64 {
		b.words = append(b.words, 0)
	}
	word, mask := &b.words[i/64], uint64(1)<<(i%64)
	if *word&mask != 0 {
		return false
	}
	*word |= mask
	return true
}

func (b *bits) has(i int) bool {
	return i/64 < len(b.words) && b.words[i/64]&(1<<(i%64)) != 0
}
