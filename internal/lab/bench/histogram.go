package bench

import (
	"encoding/json"
	"math"
	"time"
)

// Buckets reach from 10 µs, which is less than any job takes, to days. Each ends at
// resolution times the end of the one before: percentiles are at most 2 % too high.
const (
	firstBucket = 10 * time.Microsecond
	resolution  = 1.02
	buckets     = 1200
)

// histogram counts any number of latencies in a fixed space.
type histogram struct {
	counts [buckets]int64
	count  int64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > firstBucket {
		i = int(math.Ceil(math.Log(float64(d)/float64(firstBucket)) / math.Log(resolution)))
	}
	h.counts[min(i, buckets-1)]++
	h.count++
	h.max = max(h.max, d)
}

// quantile is the latency that a share q of all did not exceed; 0 if there were none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.count)))
	var seen int64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			bound := time.Duration(float64(firstBucket) * math.Pow(resolution, float64(i)))
			return min(bound, h.max)
		}
	}
	return 0
}

// Latency is how long jobs took from the moment at which they should have been published
// to the arrival of their final result.
type Latency struct{ P50, P95, P99, Max time.Duration }

// MarshalJSON writes seconds, to a tenth of a millisecond.
func (l Latency) MarshalJSON() ([]byte, error) {
	seconds := func(d time.Duration) float64 { return rounded(d.Seconds(), 1e4) }
	return json.Marshal(struct {
		P50 float64 `json:"p50"`
		P95 float64 `json:"p95"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	}{seconds(l.P50), seconds(l.P95), seconds(l.P99), seconds(l.Max)})
}

func (h *histogram) latency() Latency {
	return Latency{P50: h.quantile(.50), P95: h.quantile(.95), P99: h.quantile(.99), Max: h.max}
}
