package dlq

import (
	"context"
	"iter"
)

// inOrder does the same with each value, several at a time, and gives what came
// of it in the values' order. When stop ends no more are begun, and those in hand
// are still given.
func inOrder[T, R any](stop context.Context, atOnce int, values []T, do func(T) R) iter.Seq[R] {
	return func(yield func(R) bool) {
		ctx, cancel := context.WithCancel(stop)
		pending := make(chan chan R, atOnce-1) // one more is being waited for
		go func() {                            // ends with pending, which is read to its end below
			defer close(pending)
			for _, value := range values {
				one := make(chan R, 1)
				if ctx.Err() != nil {
					return
				}
				select {
				case pending <- one:
					go func() { one <- do(value) }()
				case <-ctx.Done():
					return
				}
			}
		}()
		defer func() {
			cancel()
			for one := range pending {
				<-one
			}
		}()
		for one := range pending {
			if !yield(<-one) {
				return
			}
		}
	}
}
