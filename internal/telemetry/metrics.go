package telemetry

import (
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Metrics are the worker's counters. Each label that can occur is there from the
// start, at zero, so that an alert on an increase sees the first one.
type Metrics struct {
	registry *prometheus.Registry

	requests, attempts, lookups, deliveries, deadLetters, denied, undeliverable, trouble *prometheus.CounterVec

	callTime, queuedTime prometheus.Histogram
	inFlight             prometheus.Gauge
}

// NewMetrics returns metrics in a registry of their own. rules names the limits that may refuse a request.
func NewMetrics(rules []string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Changes of a request's state, by the status it came to.", "status", passcode.Statuses()),
		attempts: counter("attempts_total", "Calls to Aliyun, by the class of their outcome.", "class", passcode.Classes()),
		lookups: counter("lookups_total", "Look-ups of doubtful sends, by result.", "result",
			[]string{"accepted", "undelivered", "not_found", "failed"}),
		deliveries: counter("deliveries_total", "Jobs delivered to this worker, by what they turned out to be.", "kind",
			[]string{"new", "redelivered", "duplicate", "under_way", "reopened", "invalid", "expired", "handed_back"}),
		deadLetters: counter("dead_letters_total", "Jobs written to the dead-letter stream, by reason.", "reason", passcode.Reasons()),
		denied:      counter("limit_denials_total", "Requests refused by our own per-phone limits, by rule.", "rule", append([]string{"closed"}, rules...)),
		undeliverable: counter("abandoned_jobs_total",
			"Jobs that the server no longer delivers and no worker ended, by code: consumer or stream were tampered with.", "code", []string{"max_deliveries", "terminated"}),
		trouble: counter("broker_errors_total", "Failed operations on the broker; each is tried again.", "operation", []string{
			"claim", "find owner", "count attempt", "look up", "reserve", "admit", "gate",
			"dead letter", "close phone", "release", "record", "announce", "reply", "abandoned", "recover",
		}),
		callTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "passcode_attempt_duration_seconds", Help: "Time that calls to Aliyun took.",
			Buckets: []float64{.01, .025, .05, .1, .2, .3, .5, 1, 2, 5, 10},
		}),
		queuedTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "passcode_sent_after_seconds", Help: "Time from the moment the stream stored a job to Aliyun's acceptance.",
			Buckets: []float64{.05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 300, 600},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "passcode_in_flight", Help: "Jobs being handled by this worker now.",
		}),
	}
	// It adds what the last garbage collection found to be alive, as go_gc_heap_live_bytes,
	// which tells growth from garbage.
	liveHeap := collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)}
	m.registry.MustRegister(
		m.requests, m.attempts, m.lookups, m.deliveries, m.deadLetters, m.denied, m.undeliverable, m.trouble, m.callTime, m.queuedTime, m.inFlight,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(liveHeap)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func counter[T ~string](name, help, label string, values []T) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "passcode_" + name, Help: help}, []string{label})
	for _, v := range values {
		vec.WithLabelValues(string(v))
	}
	return vec
}

// Gauge adds a gauge whose value is asked for at each scrape; value must return at once.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "passcode_" + name, Help: help}, value))
}

// Status counts a request's change of state.
func (m *Metrics) Status(s passcode.Status) { m.requests.WithLabelValues(string(s)).Inc() }

// Attempt counts a call to Aliyun and its time.
func (m *Metrics) Attempt(c passcode.Class, d time.Duration) {
	m.attempts.WithLabelValues(string(c)).Inc()
	m.callTime.Observe(d.Seconds())
}

// Sent counts the time from stored to accepted.
func (m *Metrics) Sent(sinceQueued time.Duration) { m.queuedTime.Observe(sinceQueued.Seconds()) }

// InFlight changes the number of jobs being handled.
func (m *Metrics) InFlight(delta int) { m.inFlight.Add(float64(delta)) }

// Lookup counts a look-up by its result.
func (m *Metrics) Lookup(result string) { m.lookups.WithLabelValues(result).Inc() }

// Delivery counts a delivered job by what it turned out to be.
func (m *Metrics) Delivery(kind string) { m.deliveries.WithLabelValues(kind).Inc() }

// DeadLetter counts a dead letter by reason.
func (m *Metrics) DeadLetter(r passcode.Reason) { m.deadLetters.WithLabelValues(string(r)).Inc() }

// Denied counts a request refused by the limit of that name.
func (m *Metrics) Denied(rule string) { m.denied.WithLabelValues(rule).Inc() }

// Undeliverable counts a job that the server no longer delivers.
func (m *Metrics) Undeliverable(code string) { m.undeliverable.WithLabelValues(code).Inc() }

// Trouble counts a failed broker operation.
func (m *Metrics) Trouble(operation string) { m.trouble.WithLabelValues(operation).Inc() }
