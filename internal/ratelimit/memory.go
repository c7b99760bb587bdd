package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Memory is a limiter that lives in this process alone, for tests. It judges as
// [Limiter] does and passes the same suite.
type Memory struct {
	rules []domain.Rule
	now   func() time.Time

	mu        sync.Mutex
	documents map[passcode.Phone]document
}

// NewMemory returns an empty limiter. A nil now means [time.Now].
func NewMemory(rules []domain.Rule, now func() time.Time) (*Memory, error) {
	if err := checkRules(rules); err != nil {
		return nil, fmt.Errorf("ratelimit: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &Memory{rules: rules, now: now, documents: make(map[passcode.Phone]document)}, nil
}

// change runs one step on a phone's document, as [Limiter] does on the bucket.
func (m *Memory) change(ctx context.Context, phone passcode.Phone, step func(document, int64) (document, bool)) error {
	if err := checkPhone(phone); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if next, changed := step(m.documents[phone], m.now().UnixNano()); changed {
		m.documents[phone] = next
	}
	return nil
}

// Reserve is [Limiter.Reserve].
func (m *Memory) Reserve(ctx context.Context, phone passcode.Phone, requestID string, attempt uint64) (domain.Reservation, error) {
	if err := checkRequestID(requestID); err != nil {
		return domain.Reservation{}, err
	}
	var answer domain.Reservation
	err := m.change(ctx, phone, func(doc document, now int64) (next document, changed bool) {
		next, answer, changed = doc.reserve(requestID, attempt, now, m.rules)
		return next, changed
	})
	return answer, err
}

// Release is [Limiter.Release].
func (m *Memory) Release(ctx context.Context, phone passcode.Phone, requestID string, attempt uint64) error {
	return m.change(ctx, phone, func(doc document, now int64) (document, bool) {
		return doc.release(requestID, attempt, now, m.rules)
	})
}

// CloseFor is [Limiter.CloseFor].
func (m *Memory) CloseFor(ctx context.Context, phone passcode.Phone, d time.Duration) error {
	return m.change(ctx, phone, func(doc document, now int64) (document, bool) {
		return doc.closeFor(d, now, m.rules)
	})
}

// Show is [Limiter.Show].
func (m *Memory) Show(ctx context.Context, phone passcode.Phone) (State, error) {
	var state State
	err := m.change(ctx, phone, func(doc document, now int64) (document, bool) {
		state = doc.state(now, m.rules)
		return doc, false
	})
	return state, err
}

// ResetPhone is [Limiter.ResetPhone].
func (m *Memory) ResetPhone(ctx context.Context, phone passcode.Phone) error {
	return m.change(ctx, phone, func(document, int64) (document, bool) {
		return document{}, true
	})
}
