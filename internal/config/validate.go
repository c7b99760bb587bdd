package config

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// check judges decoded settings. A rule over several keys is skipped where one
// of them has a problem already, so that each mistake is reported once.
type check struct {
	*problems
	cfg      *Config
	sources  map[string]string // where each setting came from
	warnings []string
}

func (c *check) fail(key, problem, mend string) {
	c.add(key, c.sources[settingOf(key)], problem, mend)
}

func (c *check) warn(key, text string) {
	c.warnings = append(c.warnings, key+": "+text)
}

// ranges checks every value that is set, and how they go together.
func (c *check) ranges() {
	c.nats()
	c.names()
	c.subjects()
	c.times()
	c.retry()
	c.limits()
	c.aliyun()
	c.serving()
}

func (c *check) text(key, value string) {
	if value == "" && c.fine(key) {
		c.fail(key, "must not be empty", "write a value, or remove the line for the default")
	}
}

func (c *check) oneOf(key, value string, allowed ...string) {
	if c.fine(key) && !slices.Contains(allowed, value) {
		c.fail(key, "must be one of "+strings.Join(allowed, ", "), "write one of them")
	}
}

func (c *check) positive(key string, value int64) {
	if value < 1 && c.fine(key) {
		c.fail(key, fmt.Sprintf("must be at least 1, is %d", value), "write 1 or more")
	}
}

// duration checks against the shortest duration that works.
func (c *check) duration(key string, value, least time.Duration) {
	if !c.fine(key) {
		return
	}
	switch {
	case value <= 0:
		c.fail(key, "must be longer than 0, is "+domain.FormatDuration(value), "write a duration such as 30s")
	case value < least:
		c.fail(key, fmt.Sprintf("must be at least %s, is %s", domain.FormatDuration(least), domain.FormatDuration(value)), "write a longer one")
	}
}

// address checks what a server listens on.
func (c *check) address(key, value string) {
	if !c.fine(key) {
		return
	}
	host, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /,@") {
		c.fail(key, "must be host:port", "write for instance 127.0.0.1:8080")
	}
}

// atLeast is the resolution that JetStream demands of ages and windows.
const atLeast = 100 * time.Millisecond

func (c *check) times() {
	w, a := c.cfg.Worker, c.cfg.Aliyun
	c.positive("jobs.max_bytes", int64(c.cfg.Jobs.MaxBytes))
	c.duration("jobs.duplicate_window", c.cfg.Jobs.DuplicateWindow, atLeast)
	c.duration("results.retention", c.cfg.Results.Retention, atLeast)
	c.duration("dead_letters.retention", c.cfg.DeadLetters.Retention, atLeast)
	c.positive("worker.concurrency", int64(w.Concurrency))
	c.duration("worker.passcode_ttl", w.PasscodeTTL, 0)
	c.duration("worker.ack_wait", w.AckWait, 0)
	c.positive("worker.max_interruptions", int64(w.MaxInterruptions))
	c.duration("worker.shutdown_timeout", w.ShutdownTimeout, 0)
	c.duration("aliyun.connect_timeout", a.ConnectTimeout, 0)
	c.duration("aliyun.timeout", a.Timeout, 0)

	c.retention()
	if c.fine("worker.ack_wait", "aliyun.timeout") {
		// The lease is renewed during a call, so a short one is safe; it leaves
		// the broker little time to be slow.
		if w.AckWait/2 < a.Timeout {
			c.warn("worker.ack_wait", "is less than twice aliyun.timeout: a slow broker beside a slow call may give the job to another worker")
		}
	}
	if c.fine("worker.shutdown_timeout", "aliyun.timeout") && w.ShutdownTimeout < a.Timeout {
		c.warn("worker.shutdown_timeout", "is shorter than aliyun.timeout: a worker that stops may leave calls in doubt")
	}
}

// retention: a record is what a repeated request is known by, so it must outlive
// every way in which the request may come back.
func (c *check) retention() {
	kept := c.cfg.Results.Retention
	for _, need := range []struct {
		key  string
		span time.Duration
		why  string
	}{
		{"worker.passcode_ttl", c.cfg.Worker.PasscodeTTL, "a job may wait that long and must find its record"},
		{"jobs.duplicate_window", c.cfg.Jobs.DuplicateWindow, "a repeated job must find its record"},
	} {
		if c.fine("results.retention", need.key) && kept < need.span {
			c.fail("results.retention",
				fmt.Sprintf("must be at least %s (%s), is %s: %s", need.key, domain.FormatDuration(need.span), domain.FormatDuration(kept), need.why),
				"write a longer one")
		}
	}
}

func (c *check) retry() {
	r := c.cfg.Retry
	c.duration("retry.initial_interval", r.InitialInterval, 0)
	c.duration("retry.max_interval", r.MaxInterval, 0)
	c.positive("retry.max_attempts", int64(r.MaxAttempts))
	if c.fine("retry.multiplier") && r.Multiplier < 1 {
		c.fail("retry.multiplier", fmt.Sprintf("must be at least 1, is %g: intervals would shrink", r.Multiplier), "write 1 or more, such as 2")
	}
	if f := r.RandomizationFactor; c.fine("retry.randomization_factor") && (f < 0 || f > 1) {
		c.fail("retry.randomization_factor", fmt.Sprintf("must be from 0 to 1, is %g", f), "write a share, such as 0.5")
	}
	if c.fine("retry.initial_interval", "retry.max_interval") && r.MaxInterval < r.InitialInterval {
		c.fail("retry.max_interval",
			fmt.Sprintf("must be at least retry.initial_interval (%s), is %s", domain.FormatDuration(r.InitialInterval), domain.FormatDuration(r.MaxInterval)),
			"write a longer one")
	}
}

func (c *check) limits() {
	rules := c.cfg.Limits.Phone
	if c.fine("limits.phone") {
		for i, rule := range rules {
			key := fmt.Sprintf("limits.phone[%d]", i)
			switch {
			case rule.Max < 1 || rule.Window < time.Second:
				c.fail(key, "must allow at least 1 in a window of at least 1s, is "+rule.String(), `write for instance "5/1h"`)
			case rule.Check() != nil: // more than the limiter can keep
				c.fail(key, fmt.Sprintf("must allow at most %d in a window of at most %s, is %s",
					domain.MaxPlaces, domain.FormatDuration(domain.MaxWindow), rule), "write a smaller count or a shorter window")
			}
		}
	}
	byWindow := func(a, b domain.Rule) int { return cmp.Compare(a.Window, b.Window) }
	switch {
	case !c.fine("limits.phone"):
	case len(rules) == 0:
		c.warn("limits.phone", "is empty: nothing but Aliyun's own limits keeps a phone from being flooded")
	case !slices.IsSortedFunc(rules, byWindow):
		c.fail("limits.phone", "must go from the shortest window to the longest", "put the rules in that order")
	default:
		for i := 1; i < len(rules); i++ {
			key := fmt.Sprintf("limits.phone[%d]", i)
			if rules[i].Window == rules[i-1].Window {
				c.fail(key, "has the same window as the rule before it", "keep one of the two")
			} else if rules[i].Max <= rules[i-1].Max {
				c.warn(fmt.Sprintf("limits.phone[%d]", i-1), "never applies, since the rule after it allows no more in a longer window")
			}
		}
	}
	// Phone numbers are few, so whoever reads the bucket can try them all with
	// each key that can be guessed.
	const shortKey = 16
	if n := len(c.cfg.Limits.Key.Reveal()); c.fine("limits.key") && n > 0 && n < shortKey {
		c.warn("limits.key", fmt.Sprintf("is shorter than %d characters: numbers could be found out by trying keys", shortKey))
	}
}

func (c *check) serving() {
	listen, embedded := c.cfg.HTTP.Listen, c.cfg.NATS.Embedded
	if listen != "" {
		c.address("http.listen", listen)
	}
	if embedded.Enabled && listen == embedded.Listen && c.fine("http.listen", "nats.embedded.listen") && !anyPort(listen) {
		c.fail("http.listen", "must not be nats.embedded.listen: one of the two servers could not start", "write another port")
	}
	c.oneOf("log.level", c.cfg.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", c.cfg.Log.Format, "json", "text")
}

// anyPort reports whether the system is to choose the port.
func anyPort(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	return port == "0"
}
