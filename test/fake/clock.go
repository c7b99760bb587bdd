// Package fake has what many tests put in the place of the real thing.
package fake

import (
	"sync"
	"time"
)

// Clock stands still until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows a time in 2026.
func NewClock() *Clock { return ClockAt(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)) }

// ClockAt returns a clock that shows this time.
func ClockAt(now time.Time) *Clock { return &Clock{now: now} }

// Now is the time that it shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set sets it to a time.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// Move moves it.
func (c *Clock) Move(d time.Duration) { c.Set(c.Now().Add(d)) }
