package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/phone"
)

// TestRequestsFollowFromTheirIndex, there and back, each with a number of its own
// that the worker takes.
func TestRequestsFollowFromTheirIndex(t *testing.T) {
	t.Parallel()
	run := newRequests(time.Now())
	phones := map[string]bool{}
	for _, r := range []Requests{run, warmUp} {
		for _, i := range []int{0, 1, 9, 10, 999_999, 1_000_000, 12_345_678, MaxJobs - 1} {
			job := r.Job(i)
			_, err := job.Encode()
			require.NoError(t, err)
			canonical, err := phone.Parser{}.Parse(job.Phone)
			require.NoError(t, err)
			phones[canonical.Reveal()] = true
			got, ok := r.Index(job.RequestID)
			assert.True(t, ok)
			assert.Equal(t, i, got)
		}
	}
	assert.Len(t, phones, 16, "also of the two together")
	_, ok := run.Index(warmUp.ID(1))
	assert.False(t, ok)
}

func TestIdsOfOthersAreNoRequests(t *testing.T) {
	t.Parallel()
	r := Requests{Prefix: "bench-t3st-"}
	for _, id := range []string{
		"", "bench-t3st-", "bench-other-1", "bench-t3st-x", "bench-t3st--1", "bench-t3st-01", "bench-t3st-+1", "bench-t3st-100000000",
	} {
		_, ok := r.Index(id)
		assert.False(t, ok, id)
	}
}
