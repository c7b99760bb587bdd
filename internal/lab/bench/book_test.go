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
	b := NewBook(Requests{})
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

func TestAudit(t *testing.T) {
	t.Parallel()
	r := Requests{Prefix: "bench-t3st-"}
	sent, expired, unknown := passcode.StatusSent, passcode.StatusExpired, passcode.StatusUnknown
	rows := []struct {
		name     string
		ends     []passcode.Status // of the jobs from 0 on; "" is not final
		accepted []string
		want     Audit
	}{
		{"nothing", nil, nil, Audit{}},
		{"each sent once", []passcode.Status{sent, sent}, []string{r.ID(1), r.ID(0)}, Audit{Accepted: 2}},
		{"expired, and not accepted", []passcode.Status{expired}, nil, Audit{}},
		{"sent twice", []passcode.Status{sent}, []string{r.ID(0), r.ID(0), r.ID(0)}, Audit{Accepted: 3, Doubled: 2}},
		{"no end", []passcode.Status{sent, ""}, []string{r.ID(0)}, Audit{Accepted: 1, Lost: 1}},
		{"no end, but accepted", []passcode.Status{""}, []string{r.ID(0)}, Audit{Accepted: 1, Lost: 1}},
		{"sent, says the worker alone", []passcode.Status{sent, sent}, []string{r.ID(0)}, Audit{Accepted: 1, NotAccepted: 1}},
		{"expired, says the worker alone", []passcode.Status{expired}, []string{r.ID(0)}, Audit{Accepted: 1, Denied: 1}},
		{"unknown may be either", []passcode.Status{unknown, unknown}, []string{r.ID(0)}, Audit{Accepted: 1}},
		{"somebody else's", nil, []string{"other"}, Audit{Accepted: 1, Strange: 1}},
		{"a job that was never published", nil, []string{r.ID(70)}, Audit{Accepted: 1, Strange: 1}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := NewBook(r)
			for i, status := range row.ends {
				b.Publishing(i, began)
				if status != "" {
					b.Ended(i, status, began)
				}
			}
			for _, id := range row.accepted {
				b.Accepted(id)
			}
			got := b.Audit()
			assert.Equal(t, row.want, got)
			assert.Equal(t, got == Audit{Accepted: got.Accepted}, got.Clean())
		})
	}
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
