package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

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

func (c *check) servers() {
	embedded, a := c.cfg.NATS.Embedded, c.cfg.Aliyun
	if embedded.Enabled {
		n := c.cfg.NATS.Replicas
		c.demand("nats.replicas", n <= 1, "write 1, or connect to a cluster instead",
			"must be 1 with nats.embedded.enabled, is %d: the embedded server is alone", n)
		c.demand("nats.embedded.store_dir", embedded.StoreDir != "", "write a folder", "must not be empty")
	}
	host := (&url.URL{Host: a.Endpoint}).Hostname()
	c.advise("aliyun.protocol", a.Protocol != "http" || host == "localhost" || net.ParseIP(host).IsLoopback(),
		"is http to a host that is not this machine: phone numbers and passcodes travel in the clear")
}

func (c *check) times() {
	const retention = "results.retention"
	cfg := c.cfg
	atLeast := func(key string, is time.Duration, other string, least time.Duration, why string) {
		c.demand(key, !c.fine(other) || is >= least, "write a longer one", "must be at least %s (%s), is %s%s",
			other, domain.FormatDuration(least), domain.FormatDuration(is), why)
	}
	// A record is what a repeated request is known by, so it must outlive every
	// way in which the request may come back.
	atLeast(retention, cfg.Results.Retention, "worker.passcode_ttl", cfg.Worker.PasscodeTTL, ": a job may wait that long and must find its record")
	atLeast(retention, cfg.Results.Retention, "jobs.duplicate_window", cfg.Jobs.DuplicateWindow, ": a repeated job must find its record")
	atLeast("retry.max_interval", cfg.Retry.MaxInterval, "retry.initial_interval", cfg.Retry.InitialInterval, "")
	// The lease is renewed during a call, so a short one is safe; it leaves the broker little time to be slow.
	c.advise("worker.ack_wait", cfg.Worker.AckWait/2 >= cfg.Aliyun.Timeout,
		"is less than twice aliyun.timeout: a slow broker beside a slow call may give the job to another worker")
	c.advise("worker.shutdown_timeout", cfg.Worker.ShutdownTimeout >= cfg.Aliyun.Timeout,
		"is shorter than aliyun.timeout: a worker that stops may leave calls in doubt")
}

func (c *check) limits() {
	const key = "limits.phone"
	rules := c.cfg.Limits.Phone
	at := func(i int) string { return fmt.Sprintf("%s[%d]", key, i) }
	for i, rule := range rules {
		c.demand(at(i), rule.Valid() && rule.Window >= time.Second, `write for instance "5/1h"`,
			"must allow 1 to %d in a window of 1s to %s, is %s", domain.MaxPlaces, domain.FormatDuration(domain.MaxWindow), rule)
	}
	c.advise(key, len(rules) > 0, "is empty: nothing but Aliyun's own limits keeps a phone from being flooded")
	for i := 1; i < len(rules); i++ {
		c.demand(key, rules[i].Window > rules[i-1].Window, "put the rules in that order", "must go from the shortest window to the longest, each once")
		c.advise(at(i-1), rules[i].Max > rules[i-1].Max, "never applies, since the rule after it allows no more in a longer window")
	}
	// Phone numbers are few, so whoever reads the bucket can try them all with each key that can be guessed.
	n := len(c.cfg.Limits.Key.Reveal())
	c.advise("limits.key", n == 0 || n >= 16, "is shorter than 16 characters: numbers could be found out by trying keys")
}

func (c *check) lookups() {
	const key = "aliyun.in_doubt.lookups"
	lookups := c.cfg.Aliyun.InDoubt.Lookups
	c.demand(key, len(lookups) > 0, "write for instance [5s, 15s, 30s]", "must hold at least one time")
	for i := 1; i < len(lookups); i++ {
		c.demand(key, lookups[i] > lookups[i-1], "put the times in order, each once", "must go up, each later than the one before")
	}
	if c.fine(key) {
		// All of them at or before the timeout are made in one go when a call
		// times out, before Aliyun may show the message.
		last := lookups[len(lookups)-1]
		c.advise(key, last > c.cfg.Aliyun.Timeout,
			"ends no later than aliyun.timeout: after a call that times out nothing is waited for before it is sent again")
		c.advise(key, last < c.cfg.Worker.PasscodeTTL, "ends after worker.passcode_ttl: a passcode expires before a doubtful send is settled")
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
	list, all := c.templatesKey(), c.cfg.Aliyun.Templates
	for i, t := range all {
		first := slices.IndexFunc(all, func(other domain.Template) bool { return other.UsageType == t.UsageType })
		c.advise(fmt.Sprintf("%s[%d]", list, i), first == i || t.UsageType == "",
			fmt.Sprintf("has the usage type of %s[%d], which is the one that is used", list, first))
	}
}

// running checks that what "worker run" needs is there.
func (c *check) running() {
	if c.unread(connectorKey) { // what is missing would have come from the connector
		return
	}
	before, a := len(c.Problems), c.cfg.Aliyun
	if a.ConnectorFile == "" {
		// An id without its secret would silently fall back to other credentials of the
		// machine, and perhaps to another account.
		const id, secret, token = "aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.security_token"
		bare := a.AccessKeyID.IsZero() && a.AccessKeySecret.IsZero() && !a.SecurityToken.IsZero()
		c.demand(token, !bare || !c.fine(id, secret), "set all three, or none", "must be set together with %s and %s", id, secret)
		c.pair(id, a.AccessKeyID.IsZero(), secret, a.AccessKeySecret.IsZero(), "set both, or neither for the credentials of the machine")
		noSign := func(t domain.Template) bool { return t.SignName == "" }
		c.demand("aliyun.sign_name", a.SignName != "" || len(a.Templates) > 0 && !slices.ContainsFunc(a.Templates, noSign),
			"write the approved signature, or give each template its sign_name", "is missing")
	}
	// There must be a template for every other usage type. One whose usage type could
	// not be read may be it, where the word stands in the list at all.
	key := c.templatesKey()
	has := func(usageType string) bool {
		return slices.ContainsFunc(a.Templates, func(t domain.Template) bool { return t.UsageType == usageType })
	}
	meant := has("") && holds(c.nodes[key], passcode.DefaultUsageType)
	if !has(passcode.DefaultUsageType) && !meant && !c.unread(key) {
		c.fail(key, "must hold one with usage_type Generic, which stands in for every other",
			"add {usage_type: Generic, template_code: CODE}")
	}
	for i := range c.Problems[before:] {
		c.Problems[before+i].Problem += " (worker run needs it)"
	}
}

func holds(n *yaml.Node, text string) bool {
	return n != nil && (n.Value == text || slices.ContainsFunc(n.Content, func(child *yaml.Node) bool { return holds(child, text) }))
}
