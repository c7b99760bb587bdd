package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// pair demands that both settings are set, or neither.
func (c *check) pair(first string, noFirst bool, second string, noSecond bool, fix string) {
	if noFirst {
		first, second = second, first
	}
	if noFirst != noSecond && c.fine(first, second) {
		c.fail(second, "must be set together with "+first, fix)
	}
}

// authentication allows one way: the client library would pick one of several,
// and not the one that the operator thinks of.
func (c *check) authentication() {
	n := c.cfg.NATS
	c.pair("nats.tls.cert", n.TLS.Cert == "", "nats.tls.key", n.TLS.Key == "", "set both, or neither")
	c.pair("nats.user", n.User == "", "nats.password", n.Password.IsZero(), "set both, or neither")
	keys := []string{"nats.creds", "nats.nkey_seed_file", "nats.token", "nats.user", "nats.password"}
	if !c.fine(keys...) {
		return
	}
	var kinds []string
	for i, set := range []bool{n.Creds != "", n.NkeySeedFile != "", !n.Token.IsZero(), n.User != "" || !n.Password.IsZero()} {
		if set {
			kinds = append(kinds, keys[i])
		}
	}
	servers, _ := parseURLs(n.URL.Reveal())
	if slices.ContainsFunc(servers, hasUser) {
		kinds = append(kinds, "credentials in nats.url")
	}
	if len(kinds) > 1 {
		c.fail(kinds[0], "must be the only kind of authentication, beside it there is "+strings.Join(kinds[1:], " and "), "keep one of them")
	}
}

// servers: the worker's own, and where it sends.
func (c *check) servers() {
	embedded, a := c.cfg.NATS.Embedded, c.cfg.Aliyun
	if n := c.cfg.NATS.Replicas; embedded.Enabled && n > 1 && c.fine("nats.replicas", "nats.embedded.enabled") {
		c.fail("nats.replicas", fmt.Sprintf("must be 1 with nats.embedded.enabled, is %d: the embedded server is alone", n),
			"write 1, or connect to a cluster instead")
	}
	if embedded.Enabled {
		c.judge("nats.embedded.store_dir", unless(embedded.StoreDir != "", "write a folder", "must not be empty"))
	}
	if a.Protocol == "http" && !isLoopback((&url.URL{Host: a.Endpoint}).Hostname()) {
		c.warn("aliyun.protocol", "is http to a host that is not this machine: phone numbers and passcodes travel in the clear")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// streams: no two streams are one. A bucket is the stream KV_<bucket>.
func (c *check) streams() {
	owners := map[string]string{}
	for _, s := range []struct{ key, stream string }{
		{"jobs.stream", c.cfg.Jobs.Stream},
		{"dead_letters.stream", c.cfg.DeadLetters.Stream},
		{"results.bucket", "KV_" + c.cfg.Results.Bucket},
		{"limits.bucket", "KV_" + c.cfg.Limits.Bucket},
	} {
		if !c.fine(s.key) {
			continue
		}
		if other, taken := owners[s.stream]; taken {
			c.fail(s.key, "must not name the stream of "+other, "write another name")
		}
		owners[s.stream] = s.key
	}
}

// subjects checks that our own don't overlap: a result in the jobs stream would
// be taken for a job. A job names the subject of its reply, and the worker
// publishes there with its own rights; so that one must not reach the streams or
// the server.
func (c *check) subjects() {
	own := []struct{ key, pattern string }{
		{"jobs.subject", c.cfg.Jobs.Subject},
		{"results.subject", c.cfg.Results.Subject + ".>"},
		{"dead_letters.subject", c.cfg.DeadLetters.Subject + ".>"},
	}
	kept := []struct{ key, pattern string }{{"NATS's own subjects", "$JS.>"}, {"NATS's own subjects", "$SYS.>"}, {"the buckets", "$KV.>"}}
	for i, s := range own {
		for _, other := range own[:i] {
			if c.fine(s.key, other.key) && server.SubjectsCollide(s.pattern, other.pattern) {
				c.fail(s.key, "must not overlap "+other.key, "write a subject of its own")
			}
		}
		if s.key != "results.subject" && c.fine(s.key) {
			kept = append(kept, s)
		}
	}
	for i, pattern := range c.cfg.Results.ReplySubjects {
		key := fmt.Sprintf("results.reply_subjects[%d]", i)
		c.judge(key, unless(server.IsValidSubject(pattern), "write for instance passcode.result.>", "must be a subject or a pattern with * and >"))
		for _, k := range kept {
			c.judge(key, unless(!server.SubjectsCollide(pattern, k.pattern), "write a narrower pattern",
				"must not reach %s: a job could have its result written there", k.key))
		}
	}
}

func (c *check) times() {
	const retention, interval = "results.retention", "retry.max_interval"
	cfg := c.cfg
	// A record is what a repeated request is known by, so it must outlive every
	// way in which the request may come back.
	for _, least := range []struct {
		key, other, why string
		is, least       time.Duration
	}{
		{retention, "worker.passcode_ttl", ": a job may wait that long and must find its record", cfg.Results.Retention, cfg.Worker.PasscodeTTL},
		{retention, "jobs.duplicate_window", ": a repeated job must find its record", cfg.Results.Retention, cfg.Jobs.DuplicateWindow},
		{interval, "retry.initial_interval", "", cfg.Retry.MaxInterval, cfg.Retry.InitialInterval},
	} {
		if c.fine(least.key, least.other) && least.is < least.least {
			c.fail(least.key, fmt.Sprintf("must be at least %s (%s), is %s%s",
				least.other, domain.FormatDuration(least.least), domain.FormatDuration(least.is), least.why), "write a longer one")
		}
	}
	// The lease is renewed during a call, so a short one is safe; it leaves the
	// broker little time to be slow.
	if cfg.Worker.AckWait/2 < cfg.Aliyun.Timeout {
		c.warn("worker.ack_wait", "is less than twice aliyun.timeout: a slow broker beside a slow call may give the job to another worker")
	}
	if cfg.Worker.ShutdownTimeout < cfg.Aliyun.Timeout {
		c.warn("worker.shutdown_timeout", "is shorter than aliyun.timeout: a worker that stops may leave calls in doubt")
	}
}

// templatesKey is where the templates in force are written.
func (c *check) templatesKey() string {
	if c.cfg.Aliyun.ConnectorFile != "" {
		return connectorKey + ".templates"
	}
	return "aliyun.templates"
}

func (c *check) templates() {
	list, first := c.templatesKey(), map[string]int{}
	for i, t := range c.cfg.Aliyun.Templates {
		key := fmt.Sprintf("%s[%d]", list, i)
		if before, twice := first[t.UsageType]; twice && t.UsageType != "" {
			c.warn(key, fmt.Sprintf("has the usage type of %s[%d], which is the one that is used", list, before))
		} else {
			first[t.UsageType] = i
		}
	}
}

// running checks that what "worker run" needs is there.
func (c *check) running() {
	if c.unread(connectorKey) { // what is missing would have come from the connector
		return
	}
	before, a := len(c.problems), c.cfg.Aliyun
	if a.ConnectorFile == "" {
		c.credentials()
		noSign := func(t Template) bool { return t.SignName == "" }
		if a.SignName == "" && (len(a.Templates) == 0 || slices.ContainsFunc(a.Templates, noSign)) {
			c.judge("aliyun.sign_name", mistake{"is missing", "write the approved signature, or give each template its sign_name"})
		}
	}
	c.generic()
	for i := range c.problems[before:] {
		p := &c.problems[before+i]
		p.ToRun, p.Problem = true, p.Problem+" (worker run needs it)"
	}
}

// credentials: an id without its secret would silently fall back to other
// credentials of the machine, and perhaps to another account.
func (c *check) credentials() {
	const id, secret, token = "aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.security_token"
	a := c.cfg.Aliyun
	if a.AccessKeyID.IsZero() && a.AccessKeySecret.IsZero() && !a.SecurityToken.IsZero() && c.fine(id, secret) {
		c.judge(token, mistake{"must be set together with " + id + " and " + secret, "set all three, or none"})
	}
	c.pair(id, a.AccessKeyID.IsZero(), secret, a.AccessKeySecret.IsZero(), "set both, or neither for the credentials of the machine")
}

// generic: there must be a template for every other usage type. One whose usage
// type could not be read may be it, where the word stands in the list at all.
func (c *check) generic() {
	key, a := c.templatesKey(), c.cfg.Aliyun
	noType := func(t Template) bool { return t.UsageType == "" }
	meant := slices.ContainsFunc(a.Templates, noType) && holds(c.nodes[key], passcode.DefaultUsageType)
	if _, ok := a.Template(passcode.DefaultUsageType); !ok && !meant && !c.unread(key) {
		c.fail(key, "must hold one with usage_type Generic, which stands in for every other",
			"add {usage_type: Generic, template_code: CODE}")
	}
}

// holds reports whether a text is written anywhere in a node.
func holds(n *yaml.Node, text string) bool {
	return n != nil && (n.Value == text || slices.ContainsFunc(n.Content, func(child *yaml.Node) bool { return holds(child, text) }))
}
