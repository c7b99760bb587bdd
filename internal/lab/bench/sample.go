package bench

import (
	"cmp"
	"slices"
	"time"
)

// Sample is one look at a run.
type Sample struct {
	// Elapsed is the time since the run began.
	Elapsed time.Duration
	Progress
	// Rate is how many jobs became final a second since the sample before.
	Rate float64
	// Worker is what the workers use together. Rest is the process that holds the
	// broker and publishes the jobs.
	Worker, Emulator, Rest Usage
}

// settled is how many samples, one a second, a figure of memory is the median
// of: by chance a single one comes right before or right after a collection of
// garbage.
const settled = 30

// Trend compares the usage of the workers early in a run with that at its end.
// Its size does not depend on how long the run is.
type Trend struct {
	// After is how many jobs must be final before the first comparison.
	After int

	early, late []Usage
	most        Usage
	since       int // samples since early was complete
}

// Add takes the samples in their order.
func (t *Trend) Add(s Sample) {
	if s.Worker == (Usage{}) {
		return
	}
	switch {
	case len(t.early) == settled:
		t.since++
	case s.Final >= t.After:
		t.early = append(t.early, s.Worker)
	}
	if len(t.late) == settled {
		t.late = slices.Delete(t.late, 0, 1)
	}
	t.late = append(t.late, s.Worker)
	t.most = Usage{
		Resident: max(t.most.Resident, s.Worker.Resident), HeapInUse: max(t.most.HeapInUse, s.Worker.HeapInUse),
		HeapLive: max(t.most.HeapLive, s.Worker.HeapLive), Goroutines: max(t.most.Goroutines, s.Worker.Goroutines),
		Files: max(t.most.Files, s.Worker.Files), CPU: max(t.most.CPU, s.Worker.CPU),
	}
}

// Early is the usage after the first jobs, Late that at the end, each the median
// of half a minute; Most is the greatest. ok is false where the run was too short
// for the two to be apart.
func (t *Trend) Early() (u Usage, ok bool) { return median(t.early), t.since >= settled }

// Late is described at [Trend.Early].
func (t *Trend) Late() Usage { return median(t.late) }

// Most is described at [Trend.Early].
func (t *Trend) Most() Usage { return t.most }

// median is the median of each figure by itself.
func median(samples []Usage) Usage {
	if len(samples) == 0 {
		return Usage{}
	}
	return Usage{
		Resident:   middle(samples, func(u Usage) int64 { return u.Resident }),
		HeapInUse:  middle(samples, func(u Usage) int64 { return u.HeapInUse }),
		HeapLive:   middle(samples, func(u Usage) int64 { return u.HeapLive }),
		Goroutines: middle(samples, func(u Usage) int64 { return u.Goroutines }),
		Files:      middle(samples, func(u Usage) int64 { return u.Files }),
		CPU:        middle(samples, func(u Usage) time.Duration { return u.CPU }),
	}
}

func middle[T cmp.Ordered](samples []Usage, of func(Usage) T) T {
	values := make([]T, len(samples))
	for i, u := range samples {
		values[i] = of(u)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
