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

	"github.com/nats-io/nats-server/v2/server"

	"github.com/passcode-worker/passcode-worker/passcode"
)

type check struct {
	*Errors
	cfg *Config
}

// advise warns of a value that works but is probably not meant.
func (c *check) advise(key string, ok bool, text string) {
	if !ok {
		c.cfg.Warnings = append(c.cfg.Warnings, key+": "+text)
	}
}

// demand notes a rule that a value breaks. A value that could not be read is not
// judged, and neither is one that breaks another rule.
func (c *check) demand(key string, ok bool, fix, problem string, args ...any) {
	if !ok && c.fine(key) {
		c.fail(key, fmt.Sprintf(problem, args...), fix)
	}
}

func (c *check) rules() {
	n, w, r, a := c.cfg.NATS, c.cfg.Worker, c.cfg.Retry, c.cfg.Aliyun
	_, rule := parseURLs(n.URL.Reveal())
	c.demand("nats.url", rule == "", "write for instance nats://127.0.0.1:4222", "%s", rule)
	c.demand("nats.replicas", slices.Contains([]int{1, 3, 5}, n.Replicas), "write 3 for a cluster, 1 for one server",
		"must be 1, 3 or 5, is %d", n.Replicas)
	c.address("nats.embedded.listen", n.Embedded.Listen, !n.Embedded.Enabled)
	c.address("http.listen", c.cfg.HTTP.Listen, true)
	c.positive("worker.concurrency", w.Concurrency)
	c.positive("worker.max_interruptions", w.MaxInterruptions)
	c.positive("retry.max_attempts", r.MaxAttempts)
	c.demand("retry.multiplier", r.Multiplier >= 1, "write 1 or more, such as 2",
		"must be at least 1, is %g: intervals would shrink", r.Multiplier)
	c.demand("retry.randomization_factor", r.RandomizationFactor >= 0 && r.RandomizationFactor <= 1, "write a share, such as 0.5",
		"must be from 0 to 1, is %g", r.RandomizationFactor)
	c.demand("aliyun.endpoint", validEndpoint(a.Endpoint), "write for instance dysmsapi.aliyuncs.com; aliyun.protocol is the scheme",
		"must be host or host:port, without scheme or path")
	c.oneOf("aliyun.protocol", a.Protocol, "http", "https")
	c.oneOf("log.level", c.cfg.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", c.cfg.Log.Format, "json", "text")
	c.names()
	c.subjects()
	c.authentication()
	c.servers()
	c.times()
	c.limits()
	c.lookups()
	c.templates()
}

func (c *check) oneOf(key, value string, allowed ...string) {
	c.demand(key, slices.Contains(allowed, value), "write one of them", "must be one of %s", strings.Join(allowed, ", "))
}

func (c *check) positive(key string, value int) {
	c.demand(key, value > 0, "write 1 or more", "must be at least 1, is %d", value)
}

// address is what a server listens on; where it is optional, "" means none.
func (c *check) address(key, value string, optional bool) {
	host, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	c.demand(key, value == "" && optional || err == nil && !strings.ContainsAny(host, " /,@"),
		"write for instance 127.0.0.1:8080", "must be host:port")
}

func validEndpoint(value string) bool {
	parsed, err := url.Parse("//" + value)
	return err == nil && parsed.Host == value && parsed.Hostname() != "" && !strings.ContainsAny(value, " ,%") &&
		!strings.HasSuffix(value, ":") && validPort(cmp.Or(parsed.Port(), "1"))
}

var (
	// What the server allows is 255 bytes, less the KV_ of a bucket's stream.
	namePattern   = regexp.MustCompile(`^[^\s\p{Z}\p{Cc}.*>/\\]{1,250}$`)
	bucketPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,250}$`) // the client library's rule
)

// names checks what streams, buckets and the consumer are called. No two streams are
// one, and a bucket is the stream KV_<bucket>.
func (c *check) names() {
	const fix = "write a shorter or plainer name"
	owners := map[string]string{}
	for _, s := range []struct{ key, prefix, name string }{
		{"jobs.stream", "", c.cfg.Jobs.Stream},
		{"dead_letters.stream", "", c.cfg.DeadLetters.Stream},
		{"results.bucket", "KV_", c.cfg.Results.Bucket},
		{"limits.bucket", "KV_", c.cfg.Limits.Bucket},
		{"jobs.consumer", "consumer ", c.cfg.Jobs.Consumer},
	} {
		if s.prefix == "KV_" {
			c.demand(s.key, bucketPattern.MatchString(s.name), fix, "must be 1 to 250 of A-Z a-z 0-9 _ -")
		} else {
			c.demand(s.key, len(s.name) <= 250 && namePattern.MatchString(s.name), fix, `must be 1 to 250 bytes without spaces . * > / \`)
		}
		other := owners[s.prefix+s.name]
		c.demand(s.key, other == "", "write another name", "must not name the stream of %s", other)
		if c.fine(s.key) {
			owners[s.prefix+s.name] = s.key
		}
	}
}

// reserved are the first tokens of subjects that belong to the server and the client library.
var reserved = []string{"$SYS", "$JS", "$KV", "$O", "$NRG", "$G", "_INBOX"}

// subjects checks that our own don't overlap: a result in the jobs stream would be
// taken for a job. A job names the subject of its reply, and the worker publishes there
// with its own rights; so that one must not reach the streams or the server.
func (c *check) subjects() {
	const longest = 128 // reason and request id are yet to follow
	type owned struct{ key, pattern string }
	kept := []owned{{"NATS's own subjects", "$JS.>"}, {"NATS's own subjects", "$SYS.>"}, {"the buckets", "$KV.>"}}
	var own []owned
	for _, s := range []struct{ key, subject, rest string }{
		{"jobs.subject", c.cfg.Jobs.Subject, ""},
		{"results.subject", c.cfg.Results.Subject, ".>"},
		{"dead_letters.subject", c.cfg.DeadLetters.Subject, ".>"},
	} {
		first, _, _ := strings.Cut(s.subject, ".")
		c.demand(s.key, !slices.Contains(reserved, first), "write another subject, such as passcode.send",
			"must not begin with a token that NATS keeps for itself")
		c.demand(s.key, passcode.ValidSubject(s.subject) && len(s.subject) <= longest, "write words with dots between them, such as passcode.send",
			"must be a subject of at most %d bytes without wildcards, spaces or empty tokens", longest)
		for _, other := range own {
			c.demand(s.key, !server.SubjectsCollide(s.subject+s.rest, other.pattern), "write a subject of its own", "must not overlap %s", other.key)
		}
		if !c.fine(s.key) {
			continue
		}
		own = append(own, owned{s.key, s.subject + s.rest})
		if s.key != "results.subject" {
			kept = append(kept, own[len(own)-1])
		}
	}
	for i, pattern := range c.cfg.Results.ReplySubjects {
		key := fmt.Sprintf("results.reply_subjects[%d]", i)
		c.demand(key, server.IsValidSubject(pattern), "write for instance passcode.result.>", "must be a subject or a pattern with * and >")
		for _, k := range kept {
			c.demand(key, !server.SubjectsCollide(pattern, k.pattern), "write a narrower pattern",
				"must not reach %s: a job could have its result written there", k.key)
		}
	}
}
