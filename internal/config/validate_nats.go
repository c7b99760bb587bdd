package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func (c *check) nats() {
	n := c.cfg.NATS
	c.text("nats.url", n.URL.Reveal())
	inURL := false
	if c.fine("nats.url") {
		servers, rule := n.URL.parse()
		if rule != "" {
			c.fail("nats.url", rule, "write for instance nats://127.0.0.1:4222")
		}
		for _, server := range servers {
			inURL = inURL || server.User != nil
		}
	}
	c.authentication(inURL)
	if c.fine("nats.tls.cert", "nats.tls.key") && (n.TLS.Cert == "") != (n.TLS.Key == "") {
		missing, present := "nats.tls.cert", "nats.tls.key"
		if n.TLS.Key == "" {
			missing, present = present, missing
		}
		c.fail(missing, "must be set together with "+present, "set both, or neither")
	}
	if c.fine("nats.replicas") && !slices.Contains([]int{1, 3, 5}, n.Replicas) {
		c.fail("nats.replicas", fmt.Sprintf("must be 1, 3 or 5, is %d", n.Replicas), "write 3 for a cluster, 1 for one server")
	}
	if n.Embedded.Enabled || n.Embedded.Listen != "" {
		c.address("nats.embedded.listen", n.Embedded.Listen)
	}
	if n.Embedded.Enabled {
		c.text("nats.embedded.store_dir", n.Embedded.StoreDir)
	}
	if n.Embedded.Enabled && n.Replicas > 1 && c.fine("nats.replicas", "nats.embedded.enabled") {
		c.fail("nats.replicas", fmt.Sprintf("must be 1 with nats.embedded.enabled, is %d: the embedded server is alone", n.Replicas),
			"write 1, or connect to a cluster instead")
	}
}

// authentication allows one way: the client library would pick one of several,
// and not the one that the operator thinks of.
func (c *check) authentication(inURL bool) {
	n := c.cfg.NATS
	keys := []string{"nats.creds", "nats.nkey_seed_file", "nats.token", "nats.user", "nats.password"}
	if !c.fine(keys...) {
		return
	}
	var ways []string
	for i, set := range []bool{n.Creds != "", n.NkeySeedFile != "", !n.Token.IsZero(), n.User != "" || !n.Password.IsZero()} {
		if set {
			ways = append(ways, keys[i])
		}
	}
	key := "nats.url"
	if len(ways) > 0 {
		key = ways[0]
	}
	if inURL {
		ways = append(ways, "credentials in nats.url")
	}
	if len(ways) > 1 {
		c.fail(key, "must be the only way to authenticate, beside it there is "+sentence(ways[1:]), "keep one of them")
	}
	if (n.User == "") != n.Password.IsZero() {
		missing, present := "nats.password", "nats.user"
		if n.User == "" {
			missing, present = present, missing
		}
		c.fail(missing, "must be set together with "+present, "set both, or neither")
	}
}

// names checks the names that streams, consumers and buckets go by on the
// server, and that no two streams are one. A bucket is the stream KV_<bucket>.
func (c *check) names() {
	streams := map[string]string{}
	for _, name := range []struct {
		key, value, prefix string
		bucket             bool
	}{
		{key: "jobs.stream", value: c.cfg.Jobs.Stream},
		{key: "dead_letters.stream", value: c.cfg.DeadLetters.Stream},
		{key: "results.bucket", value: c.cfg.Results.Bucket, prefix: "KV_", bucket: true},
		{key: "limits.bucket", value: c.cfg.Limits.Bucket, prefix: "KV_", bucket: true},
	} {
		c.name(name.key, name.value, name.bucket)
		if !c.fine(name.key) {
			continue
		}
		stream := name.prefix + name.value
		if other, taken := streams[stream]; taken {
			c.fail(name.key, "must not name the stream of "+other, "write another name")
		}
		streams[stream] = name.key
	}
	c.name("jobs.consumer", c.cfg.Jobs.Consumer, false)
}

func (c *check) name(key, value string, bucket bool) {
	c.text(key, value)
	if !c.fine(key) {
		return
	}
	forbidden := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`.*>/\`, r)
	}
	rule := "must be at most 250 bytes without spaces . * > / \\"
	if bucket {
		// The client library's rule for buckets.
		forbidden = func(r rune) bool {
			return r > unicode.MaxASCII || !unicode.In(r, unicode.L, unicode.Nd) && r != '_' && r != '-'
		}
		rule = "must be at most 250 of A-Z a-z 0-9 _ -"
	}
	// The server allows 255 bytes, of which a bucket's stream takes three more.
	if len(value) > 250 || strings.ContainsFunc(value, forbidden) {
		c.fail(key, rule, "write a shorter or plainer name")
	}
}

// reserved are the first tokens of subjects that belong to the server and the
// client library.
var reserved = []string{"$SYS", "$JS", "$KV", "$O", "$NRG", "$G", "_INBOX"}

// subjects checks our own subjects, which must not overlap: a result in the
// jobs stream would be taken for a job.
func (c *check) subjects() {
	own := []struct{ key, value, pattern string }{
		{"jobs.subject", c.cfg.Jobs.Subject, c.cfg.Jobs.Subject},
		{"results.subject", c.cfg.Results.Subject, c.cfg.Results.Subject + ".>"},
		{"dead_letters.subject", c.cfg.DeadLetters.Subject, c.cfg.DeadLetters.Subject + ".>"},
	}
	for i, subject := range own {
		c.text(subject.key, subject.value)
		first, _, _ := strings.Cut(subject.value, ".")
		switch {
		case !c.fine(subject.key):
		case !passcode.ValidSubject(subject.value) || len(subject.value) > 128:
			// Reason and request id are yet to follow.
			c.fail(subject.key, "must be a subject of at most 128 bytes without wildcards, spaces or empty tokens",
				"write words with dots between them, such as passcode.send")
		case slices.Contains(reserved, first):
			c.fail(subject.key, "must not begin with a token that NATS keeps for itself", "write another subject, such as passcode.send")
		}
		for _, other := range own[:i] {
			if c.fine(subject.key, other.key) && overlap(subject.pattern, other.pattern) {
				c.fail(subject.key, "must not overlap "+other.key, "write a subject of its own")
			}
		}
	}
	c.replySubjects()
}

// replySubjects: a producer names the subject, and the worker publishes there
// with its own rights; so it must not reach the streams or the server.
func (c *check) replySubjects() {
	type guard struct{ name, pattern string }
	guards := []guard{{"NATS's own subjects", "$JS.>"}, {"NATS's own subjects", "$SYS.>"}, {"the buckets", "$KV.>"}}
	if c.fine("jobs.subject") {
		guards = append(guards, guard{"jobs.subject", c.cfg.Jobs.Subject})
	}
	if c.fine("dead_letters.subject") {
		guards = append(guards, guard{"dead_letters.subject", c.cfg.DeadLetters.Subject + ".>"})
	}
	for i, pattern := range c.cfg.Results.ReplySubjects {
		key := fmt.Sprintf("results.reply_subjects[%d]", i)
		if c.noted(key) {
			continue
		}
		if !validPattern(pattern) {
			c.fail(key, "must be a subject or a pattern with * and >", "write for instance passcode.result.>")
			continue
		}
		reached := slices.IndexFunc(guards, func(g guard) bool { return overlap(pattern, g.pattern) })
		if reached >= 0 {
			c.fail(key, "must not reach "+guards[reached].name+": a job could have its result written there", "write a narrower pattern")
		}
	}
}

func validPattern(pattern string) bool {
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		switch {
		case token == ">" && i < len(tokens)-1:
			return false
		case token == ">" || token == "*":
			tokens[i] = "x"
		}
	}
	return passcode.ValidSubject(strings.Join(tokens, "."))
}

// overlap reports whether one subject can match both patterns.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != "*" && bs[i] != "*" && as[i] != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}

// sentence joins names as a sentence does.
func sentence(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
