package dlq

import (
	"context"
	"iter"
)

// inOrder does the same with each value, several at a time, and gives what came
// of it in the values' order. When stop ends no more are begun, and those in hand
// are still given. An error of the values ends it.
func inOrder[T, R any](stop context.Context, atOnce int, values iter.Seq2[T, error], do func(T) R) iter.Seq2[R, error] {
	type result struct {
		value R
		err   error
	}
	return func(yield func(R, error) bool) {
		ctx, cancel := context.WithCancel(stop)
		pending := make(chan chan result, atOnce-1) // one more is being waited for
		go func() {                                 // ends with pending, which is read to its end below
			defer close(pending)
			for value, err := range values {
				one := make(chan result, 1)
				if ctx.Err() != nil {
					return
				}
				select {
				case pending <- one:
				case <-ctx.Done():
					return
				}
				if err != nil {
					one <- result{err: err}
					return
				}
				go func() { one <- result{value: do(value)} }()
			}
		}()
		defer func() {
			cancel()
			for one := range pending {
				<-one
			}
		}()
		for one := range pending {
			r := <-one
			if !yield(r.value, r.err) {
				return
			}
		}
	}
}
