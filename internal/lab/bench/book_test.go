package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

var began = time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return began.Add(d) }

func TestBookFollowsEachJob(t *testing.T) {
	t.Parallel()
	b := NewBook(began)
	for i := range 4 {
		b.Publishing(i, after(time.Duration(i)*time.Second))
	}
	b.NotPublished(3)
	b.NotPublished(3)
	assert.Equal(t, []int{0, 1, 2}, b.Open())

	assert.True(t, b.Ended(0, passcode.StatusSent, after(2*time.Second)))
	assert.False(t, b.Ended(0, passcode.StatusSent, after(9*time.Second)), "announced again")
	assert.False(t, b.Ended(3, passcode.StatusSent, after(9*time.Second)), "never published")
	assert.True(t, b.Ended(2, passcode.StatusExpired, after(3*time.Second)))
	assert.Equal(t, []int{1}, b.Open())

	p := b.Progress()
	assert.Equal(t, 3, p.Published)
	assert.Equal(t, 2, p.Final)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: 1, passcode.StatusExpired: 1}, p.Statuses)
	assert.Equal(t, 2*time.Second, p.Latency.Max)
	assert.Zero(t, b.Progress().Latency, "what was told is not told again")
	assert.Equal(t, 2*time.Second, b.Total().Latency.Max)
}

func TestBitsKeepEachIndexOnce(t *testing.T) {
	t.Parallel()
	var b bits
	assert.False(t, b.has(1_000_000))
	for _, i := range []int{0, 63, 64, 1_000_000} {
		assert.True(t, b.set(i))
		assert.False(t, b.set(i))
		assert.True(t, b.has(i))
		assert.False(t, b.has(i+1))
	}
	assert.LessOrEqual(t, len(b.words)*8, 125_008+8, "a million jobs take 125 KB")
}

// TestQuantiles are right to within two percent, whatever the latencies are.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	var h histogram
	assert.Zero(t, h.latency())
	for i := 1; i <= 10_000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{.5: 5 * time.Second, .95: 9500 * time.Millisecond, .99: 9900 * time.Millisecond} {
		assert.InEpsilon(t, want.Seconds(), h.quantile(q).Seconds(), .02)
		assert.GreaterOrEqual(t, h.quantile(q), want)
	}
	assert.Equal(t, 10*time.Second, h.quantile(1), "never more than the greatest")
	assert.Equal(t, 10*time.Second, h.max)

	h = histogram{}
	h.add(0)
	h.add(-time.Second)
	h.add(1000 * time.Hour)
	assert.Equal(t, 1000*time.Hour, h.max)
	assert.Equal(t, int64(3), h.count)
}
