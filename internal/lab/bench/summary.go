package bench

import (
	"math"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Summary is what came of a run. Its times are seconds, its CPU times those of
// one core.
type Summary struct {
	Type      string                  `json:"type"` // "summary"
	Seconds   float64                 `json:"seconds"`
	Published int                     `json:"published"`
	Final     int                     `json:"final"`
	Statuses  map[passcode.Status]int `json:"statuses"`
	PerSecond float64                 `json:"jobs_per_second"`
	Latency   LatencySeconds          `json:"latency_seconds"`
	Memory    Memory                  `json:"worker"`
	CPU       CPU                     `json:"cpu_seconds_per_job"`
	// Emulator and Rest are the memory of the other processes at the end.
	Emulator Usage `json:"emulator"`
	Rest     Usage `json:"broker_and_bench"`
	Audit    Audit `json:"audit"`
}

// Memory is what the workers together used, early in the run, at its end, and at
// most. Early is nil where the run ended before.
type Memory struct {
	After int    `json:"early_after_jobs"`
	Early *Usage `json:"early,omitempty"`
	Late  Usage  `json:"late"`
	Most  Usage  `json:"most"`
}

// CPU is the processor time that each part took for a job, in seconds.
type CPU struct {
	Worker   float64 `json:"worker"`
	Emulator float64 `json:"emulator"`
	Rest     float64 `json:"broker_and_bench"`
}

// LatencySeconds is a [Latency] in seconds.
type LatencySeconds struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Seconds is the latency in seconds, to a tenth of a millisecond.
func (l Latency) Seconds() LatencySeconds {
	seconds := func(d time.Duration) float64 { return d.Round(100 * time.Microsecond).Seconds() }
	return LatencySeconds{seconds(l.P50), seconds(l.P95), seconds(l.P99), seconds(l.Max)}
}

// Summarise draws up what lies between the first and the last look at a run.
func Summarise(first, last Sample, trend *Trend, audit Audit) Summary {
	s := Summary{
		Type: "summary", Seconds: last.Elapsed.Round(time.Millisecond).Seconds(), Published: last.Published, Final: last.Final,
		Statuses: last.Statuses, Latency: last.Latency.Seconds(),
		Emulator: last.Emulator, Rest: last.Rest, Audit: audit,
		Memory: Memory{After: trend.After, Late: trend.Late(), Most: trend.Most()},
	}
	if early, ok := trend.Early(); ok {
		s.Memory.Early = &early
	}
	if last.Elapsed > 0 {
		s.PerSecond = rounded(float64(last.Final)/last.Elapsed.Seconds(), 10)
	}
	each := func(first, last Usage) float64 {
		if total := (last.CPU - first.CPU); audit.Accepted > 0 && total > 0 {
			return rounded(total.Seconds()/float64(audit.Accepted), 1e7)
		}
		return 0
	}
	s.CPU = CPU{each(first.Worker, last.Worker), each(first.Emulator, last.Emulator), each(first.Rest, last.Rest)}
	return s
}

// rounded leaves out the digits that say nothing: parts of a unit are kept.
func rounded(f, parts float64) float64 { return math.Round(f*parts) / parts }

// Line is a sample as one line of JSON.
type Line struct {
	Type      string                  `json:"type"` // "sample"
	Seconds   float64                 `json:"seconds"`
	Published int                     `json:"published"`
	Final     int                     `json:"final"`
	Statuses  map[passcode.Status]int `json:"statuses"`
	PerSecond float64                 `json:"jobs_per_second"`
	Latency   LatencySeconds          `json:"latency_seconds"`
	Worker    Usage                   `json:"worker"`
	Emulator  Usage                   `json:"emulator"`
	Rest      Usage                   `json:"broker_and_bench"`
}

// Line is the sample as one line of JSON.
func (s Sample) Line() Line {
	return Line{
		Type: "sample", Seconds: s.Elapsed.Round(time.Millisecond).Seconds(), Published: s.Published, Final: s.Final,
		Statuses: s.Statuses, PerSecond: rounded(s.Rate, 10), Latency: s.Latency.Seconds(),
		Worker: s.Worker, Emulator: s.Emulator, Rest: s.Rest,
	}
}
