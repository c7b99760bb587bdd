package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// stepTimeout bounds each step of the teardown, after the jobs are finished.
const stepTimeout = 5 * time.Second

// teardown takes down what was built, the last thing first.
type teardown struct{ steps []step }

type step struct {
	name string
	do   func(context.Context) error
}

// later adds a step.
func (t *teardown) later(name string, do func(context.Context) error) {
	t.steps = append(t.steps, step{name, do})
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

// close takes every step, each bounded.
func (t *teardown) close() error {
	var errs []error
	for i := len(t.steps) - 1; i >= 0; i-- {
		s := t.steps[i]
		ctx, cancel := context.WithTimeoutCause(context.Background(), stepTimeout, fmt.Errorf("took longer than %s", stepTimeout))
		if err := s.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", s.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}
