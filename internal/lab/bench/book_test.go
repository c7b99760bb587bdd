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

	b.Announced(0, passcode.StatusSending, after(time.Second))
	b.Announced(0, passcode.StatusSending, after(9*time.Second)) // another attempt
	b.Announced(3, passcode.StatusSending, after(9*time.Second)) // never published
	assert.True(t, b.Announced(0, passcode.StatusSent, after(2*time.Second)))
	assert.False(t, b.Announced(0, passcode.StatusSent, after(9*time.Second)), "announced again")
	assert.False(t, b.Announced(3, passcode.StatusSent, after(9*time.Second)), "never published")
	assert.True(t, b.Announced(2, passcode.StatusExpired, after(3*time.Second)))
	assert.Equal(t, []int{1}, b.Open())

	b.Announced(2, passcode.StatusSending, after(9*time.Second)) // announced late
	p := b.Progress(Progress{})
	assert.Equal(t, 3, p.Published)
	assert.Equal(t, 1, p.Received)
	assert.Equal(t, 2, p.Final)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: 1, passcode.StatusExpired: 1}, p.Statuses)
	assert.Equal(t, span(time.Second), p.Receipt.Max)
	assert.Equal(t, span(2*time.Second), p.Result.Max)
	assert.Equal(t, span(time.Second), b.Progress(Progress{Final: 1}).Result.Max, "of the second alone")
	assert.Zero(t, b.Progress(p).Receipt)
	assert.Zero(t, b.Progress(p).Result)
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
					b.Announced(i, status, began)
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

// TestPercentiles are exact, whatever the latencies are.
func TestPercentiles(t *testing.T) {
	t.Parallel()
	assert.Zero(t, latency(nil))
	assert.Equal(t, Latency{7, 7, 7, 7, 7}, latency([]time.Duration{7}))
	assert.Equal(t, Latency{2, 3, 3, 3, 3}, latency([]time.Duration{3, 1, 2}))
	var took []time.Duration
	for i := range 10_000 {
		took = append(took, time.Duration(10_000-i))
	}
	assert.Equal(t, Latency{5000, 9000, 9500, 9900, 10_000}, latency(took))
}
