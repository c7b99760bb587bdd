package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func (c *check) aliyun() {
	a := c.cfg.Aliyun
	c.text("aliyun.endpoint", a.Endpoint)
	if c.fine("aliyun.endpoint") {
		host, ok := splitEndpoint(a.Endpoint)
		switch {
		case !ok:
			c.fail("aliyun.endpoint", "must be host or host:port, without scheme or path", "write for instance dysmsapi.aliyuncs.com; aliyun.protocol is the scheme")
		case a.Protocol == "http" && !isLoopback(host):
			c.warn("aliyun.protocol", "is http to a host that is not this machine: phone numbers and passcodes travel in the clear")
		}
	}
	c.oneOf("aliyun.protocol", a.Protocol, "http", "https")
	if a.MaxQPS < 0 && c.fine("aliyun.max_qps") {
		c.fail("aliyun.max_qps", fmt.Sprintf("must be 0 or more, is %d", a.MaxQPS), "write 0 for no cap")
	}
	c.lookups()
	c.templates()
}

// splitEndpoint returns the host of host or host:port.
func splitEndpoint(endpoint string) (host string, ok bool) {
	parsed, err := url.Parse("//" + endpoint)
	if err != nil || parsed.Host != endpoint || parsed.Hostname() == "" || strings.ContainsAny(endpoint, " ,%") {
		return "", false
	}
	if port := parsed.Port(); port != "" && !validPort(port) || strings.HasSuffix(endpoint, ":") {
		return "", false
	}
	return parsed.Hostname(), true
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c *check) lookups() {
	const key = "aliyun.in_doubt.lookups"
	lookups := c.cfg.Aliyun.InDoubt.Lookups
	if !c.fine(key) {
		return
	}
	notAfter := func(a, b time.Duration) bool { return a >= b }
	switch {
	case len(lookups) == 0:
		c.fail(key, "must hold at least one time", "write for instance [5s, 15s, 30s]")
	case lookups[0] <= 0:
		c.fail(key+"[0]", "must be longer than 0, is "+domain.FormatDuration(lookups[0]), "write a duration such as 5s")
	case hasPair(lookups, notAfter):
		c.fail(key, "must go up, each later than the one before", "put the times in order, each once")
	default:
		// All of them at or before the timeout are made in one go when a call
		// times out, before Aliyun may show the message.
		last := lookups[len(lookups)-1]
		if c.fine("aliyun.timeout") && last <= c.cfg.Aliyun.Timeout {
			c.warn(key, "ends no later than aliyun.timeout: after a call that times out nothing is waited for before it is sent again")
		}
		if c.fine("worker.passcode_ttl") && last >= c.cfg.Worker.PasscodeTTL {
			c.warn(key, "ends after worker.passcode_ttl: a passcode expires before a doubtful send is settled")
		}
	}
}

// hasPair reports whether two neighbours are in the given relation.
func hasPair[T any](list []T, related func(a, b T) bool) bool {
	for i := 1; i < len(list); i++ {
		if related(list[i-1], list[i]) {
			return true
		}
	}
	return false
}

func (c *check) templates() {
	list := "aliyun.templates"
	if c.cfg.Aliyun.ConnectorFile != "" {
		list = connectorKey + ".templates"
	}
	first := map[string]int{}
	for i, t := range c.cfg.Aliyun.Templates {
		key := fmt.Sprintf("%s[%d]", list, i)
		if before, twice := first[t.UsageType]; twice && t.UsageType != "" {
			c.warn(key, fmt.Sprintf("has the usage type of %s[%d], which is the one that is used", list, before))
		} else {
			first[t.UsageType] = i
		}
		if c.noted(key + ".params") {
			continue
		}
		for j, name := range t.Params {
			at := fmt.Sprintf("%s.params[%d]", key, j)
			switch {
			case name == "":
				c.fail(at, "must not be empty", "write a variable's name, or remove the entry")
			case slices.Contains(t.Params[:j], name):
				c.fail(at, "is there twice", "keep one of the two")
			case name == "code":
				c.warn(at, "is always sent and need not be listed")
			}
		}
	}
}

// sending checks that what sending needs is there.
func (c *check) sending() {
	a := c.cfg.Aliyun
	if !c.fine("aliyun.connector_file") {
		return // what is missing would have come from it
	}
	if a.ConnectorFile != "" && a.AccessKeyID.IsZero() {
		c.fail("aliyun.connector_file", "has not been read", "make the file available to this command")
		return
	}
	c.credentials()
	noSign := func(t Template) bool { return t.SignName == "" }
	if a.SignName == "" && c.fine("aliyun.sign_name") && (len(a.Templates) == 0 || slices.ContainsFunc(a.Templates, noSign)) {
		c.fail("aliyun.sign_name", "is missing", "write the approved signature, or give each template its sign_name")
	}
	c.generic()
}

// generic: templates that lack the one for every other usage type are a mistake
// also where nothing is to be sent.
func (c *check) generic() {
	a := c.cfg.Aliyun
	// A usage type that could not be read may be the one that is looked for.
	unknown := c.unread("aliyun.templates") || slices.ContainsFunc(a.Templates, func(t Template) bool { return t.UsageType == "" })
	if _, ok := a.Template(passcode.DefaultUsageType); !ok && !unknown {
		c.fail("aliyun.templates", "must hold one with usage_type Generic, which stands in for every other",
			"add {usage_type: Generic, template_code: CODE}")
	}
}

// credentials: an id without its secret would silently fall back to other
// credentials of the machine, and perhaps to another account.
func (c *check) credentials() {
	const id, secret, token = "aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.security_token"
	a := c.cfg.Aliyun
	if !c.fine(id, secret, token) {
		return
	}
	switch {
	case a.AccessKeyID.IsZero() != a.AccessKeySecret.IsZero():
		missing, present := secret, id
		if a.AccessKeyID.IsZero() {
			missing, present = present, missing
		}
		c.fail(missing, "must be set together with "+present, "set both, or neither for the credentials of the machine")
	case a.AccessKeyID.IsZero() && !a.SecurityToken.IsZero():
		c.fail(token, "must be set together with "+id+" and "+secret, "set all three, or none")
	}
}
