package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// mistake is the rule that a value breaks and the fix; empty where it is right.
type mistake struct{ problem, fix string }

// check judges decoded settings.
type check struct {
	*findings
	cfg      *Config
	warnings []string
}

func (c *check) warn(key, text string) { c.warnings = append(c.warnings, key+": "+text) }

// judge notes the rule that a value breaks. A value that could not be read is
// not judged, and neither is one that breaks another rule.
func (c *check) judge(key string, v mistake) {
	if v.problem != "" && c.fine(key) {
		c.fail(key, v.problem, v.fix)
	}
}

// rules checks the values that are set, each alone and then together.
func (c *check) rules() {
	n, w, r, a := c.cfg.NATS, c.cfg.Worker, c.cfg.Retry, c.cfg.Aliyun
	for _, single := range []struct {
		key string
		mistake
	}{
		{"nats.url", serverURLs(n.URL)},
		{"nats.replicas", unless(slices.Contains([]int{1, 3, 5}, n.Replicas), "write 3 for a cluster, 1 for one server",
			"must be 1, 3 or 5, is %d", n.Replicas)},
		{"nats.embedded.listen", address(n.Embedded.Listen, !n.Embedded.Enabled)},
		{"jobs.stream", name(c.cfg.Jobs.Stream)},
		{"jobs.subject", subject(c.cfg.Jobs.Subject)},
		{"jobs.consumer", name(c.cfg.Jobs.Consumer)},
		{"results.bucket", bucketName(c.cfg.Results.Bucket)},
		{"results.subject", subject(c.cfg.Results.Subject)},
		{"dead_letters.stream", name(c.cfg.DeadLetters.Stream)},
		{"dead_letters.subject", subject(c.cfg.DeadLetters.Subject)},
		{"worker.concurrency", positive(w.Concurrency)},
		{"worker.max_interruptions", positive(w.MaxInterruptions)},
		{"retry.multiplier", unless(r.Multiplier >= 1, "write 1 or more, such as 2",
			"must be at least 1, is %g: intervals would shrink", r.Multiplier)},
		{"retry.randomization_factor", unless(r.RandomizationFactor >= 0 && r.RandomizationFactor <= 1, "write a share, such as 0.5",
			"must be from 0 to 1, is %g", r.RandomizationFactor)},
		{"retry.max_attempts", positive(r.MaxAttempts)},
		{"limits.bucket", bucketName(c.cfg.Limits.Bucket)},
		{"aliyun.endpoint", endpoint(a.Endpoint)},
		{"aliyun.protocol", oneOf(a.Protocol, "http", "https")},
		{"http.listen", address(c.cfg.HTTP.Listen, true)},
		{"log.level", oneOf(c.cfg.Log.Level, "debug", "info", "warn", "error")},
		{"log.format", oneOf(c.cfg.Log.Format, "json", "text")},
	} {
		c.judge(single.key, single.mistake)
	}
	c.authentication()
	c.servers()
	c.streams()
	c.subjects()
	c.times()
	c.limits()
	c.lookups()
	c.templates()
}

// unless is no mistake where ok is true.
func unless(ok bool, fix, problem string, args ...any) mistake {
	if ok {
		return mistake{}
	}
	return mistake{fmt.Sprintf(problem, args...), fix}
}

func oneOf(value string, allowed ...string) mistake {
	return unless(slices.Contains(allowed, value), "write one of them", "must be one of %s", strings.Join(allowed, ", "))
}

func positive(value int) mistake {
	return unless(value > 0, "write 1 or more", "must be at least 1, is %d", value)
}

// address is what a server listens on; where it is optional, "" means none.
func address(value string, optional bool) mistake {
	host, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	right := value == "" && optional || err == nil && !strings.ContainsAny(host, " /,@")
	return unless(right, "write for instance 127.0.0.1:8080", "must be host:port")
}

func serverURLs(list ServerURLs) mistake {
	_, rule := parseURLs(list.Reveal())
	return unless(rule == "", "write for instance nats://127.0.0.1:4222", "%s", rule)
}

func endpoint(value string) mistake {
	parsed, err := url.Parse("//" + value)
	right := err == nil && parsed.Host == value && parsed.Hostname() != "" && !strings.ContainsAny(value, " ,%") &&
		!strings.HasSuffix(value, ":") && validPort(cmp.Or(parsed.Port(), "1"))
	return unless(right, "write for instance dysmsapi.aliyuncs.com; aliyun.protocol is the scheme",
		"must be host or host:port, without scheme or path")
}

var (
	// What the server allows is 255 bytes, less the KV_ of a bucket's stream.
	namePattern   = regexp.MustCompile(`^[^\s\p{Z}\p{Cc}.*>/\\]{1,250}$`)
	bucketPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,250}$`) // the client library's rule
)

// name is that of a stream or a consumer.
func name(value string) mistake {
	return unless(len(value) <= 250 && namePattern.MatchString(value), "write a shorter or plainer name",
		`must be 1 to 250 bytes without spaces . * > / \`)
}

func bucketName(value string) mistake {
	return unless(bucketPattern.MatchString(value), "write a shorter or plainer name", "must be 1 to 250 of A-Z a-z 0-9 _ -")
}

// reserved are the first tokens of subjects that belong to the server and the
// client library.
var reserved = []string{"$SYS", "$JS", "$KV", "$O", "$NRG", "$G", "_INBOX"}

func subject(value string) mistake {
	const longest = 128 // reason and request id are yet to follow
	if first, _, _ := strings.Cut(value, "."); slices.Contains(reserved, first) {
		return mistake{"must not begin with a token that NATS keeps for itself", "write another subject, such as passcode.send"}
	}
	return unless(passcode.ValidSubject(value) && len(value) <= longest, "write words with dots between them, such as passcode.send",
		"must be a subject of at most %d bytes without wildcards, spaces or empty tokens", longest)
}

// limits checks the rules of limits.phone, and its key.
func (c *check) limits() {
	const key = "limits.phone"
	rules := c.cfg.Limits.Phone
	at := func(i int) string { return fmt.Sprintf("%s[%d]", key, i) }
	for i, rule := range rules {
		c.judge(at(i), unless(rule.Check() == nil && rule.Window >= time.Second, `write for instance "5/1h"`,
			"must allow 1 to %d in a window of 1s to %s, is %s", domain.MaxPlaces, domain.FormatDuration(domain.MaxWindow), rule))
	}
	byWindow := func(a, b domain.Rule) int { return cmp.Compare(a.Window, b.Window) }
	switch {
	case !c.fine(key):
	case len(rules) == 0:
		c.warn(key, "is empty: nothing but Aliyun's own limits keeps a phone from being flooded")
	case !slices.IsSortedFunc(rules, byWindow):
		c.fail(key, "must go from the shortest window to the longest", "put the rules in that order")
	default:
		for i := 1; i < len(rules); i++ {
			if rules[i].Window == rules[i-1].Window {
				c.fail(at(i), "has the same window as the rule before it", "keep one of the two")
			} else if rules[i].Max <= rules[i-1].Max {
				c.warn(at(i-1), "never applies, since the rule after it allows no more in a longer window")
			}
		}
	}
	// Phone numbers are few, so whoever reads the bucket can try them all with
	// each key that can be guessed.
	const shortKey = 16
	if n := len(c.cfg.Limits.Key.Reveal()); n > 0 && n < shortKey {
		c.warn("limits.key", fmt.Sprintf("is shorter than %d characters: numbers could be found out by trying keys", shortKey))
	}
}

func (c *check) lookups() {
	const key = "aliyun.in_doubt.lookups"
	lookups := c.cfg.Aliyun.InDoubt.Lookups
	c.judge(key, unless(len(lookups) > 0, "write for instance [5s, 15s, 30s]", "must hold at least one time"))
	for i := 1; i < len(lookups); i++ {
		c.judge(key, unless(lookups[i] > lookups[i-1], "put the times in order, each once", "must go up, each later than the one before"))
	}
	if c.fine(key) {
		// All of them at or before the timeout are made in one go when a call
		// times out, before Aliyun may show the message.
		last := lookups[len(lookups)-1]
		if last <= c.cfg.Aliyun.Timeout {
			c.warn(key, "ends no later than aliyun.timeout: after a call that times out nothing is waited for before it is sent again")
		}
		if last >= c.cfg.Worker.PasscodeTTL {
			c.warn(key, "ends after worker.passcode_ttl: a passcode expires before a doubtful send is settled")
		}
	}
}
