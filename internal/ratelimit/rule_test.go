package ratelimit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestBucketTTL(t *testing.T) {
	t.Parallel()
	// A closure of a day must be kept even where all windows are short.
	assert.Equal(t, 26*time.Hour, BucketTTL(nil))
	assert.Equal(t, 26*time.Hour, BucketTTL(rules(t, "1/1m")))
	assert.Equal(t, 50*time.Hour, BucketTTL(rules(t, "1/1m", "9/48h", "5/1h")))
}

func TestUnusableRules(t *testing.T) {
	t.Parallel()
	_, err := NewMemory([]domain.Rule{{Max: 1, Window: time.Hour}, {Max: 0, Window: time.Hour}, {Max: 1}}, nil)
	require.Error(t, err)
	assert.ErrorContains(t, err, `"0/1h"`)
	assert.ErrorContains(t, err, `"1/0s"`)
	_, err = Open(t.Context(), nil, Options{Rules: []domain.Rule{{}}})
	assert.ErrorContains(t, err, "count must be")
}
