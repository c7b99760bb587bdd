package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// stepTimeout bounds each step of the teardown, after the jobs are finished.
const stepTimeout = 5 * time.Second

// teardown takes down what was built, the last thing first.
type teardown struct{ steps []func() error }

func (t *teardown) later(name string, do func(context.Context) error) {
	t.steps = append(t.steps, func() error {
		ctx, cancel := context.WithTimeoutCause(context.Background(), stepTimeout, fmt.Errorf("took longer than %s", stepTimeout))
		defer cancel()
		if err := do(ctx); err != nil {
			return fmt.Errorf("close %s: %w", name, err)
		}
		return nil
	})
}

// background runs f until the teardown, which waits for it.
func (t *teardown) background(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	t.later(name, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

func (t *teardown) close() error {
	var errs []error
	for _, step := range slices.Backward(t.steps) {
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}
