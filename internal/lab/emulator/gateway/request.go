// Package gateway stands for Aliyun's API gateway in the emulator: it reads a request
// and checks its signature, time and nonce before the service sees it.
package gateway

import (
	"cmp"
	"hash/maphash"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The actions that faults treat in ways of their own.
const (
	ActionSendSms          = "SendSms"
	ActionSendBatchSms     = "SendBatchSms"
	ActionQuerySendDetails = "QuerySendDetails"
)

// Actions are those that the emulator serves.
var Actions = []string{
	ActionSendSms, ActionSendBatchSms, ActionQuerySendDetails, "QuerySmsSign", "QuerySmsTemplate",
	"QuerySmsSignList", "QuerySmsTemplateList", "GetSmsSign", "GetSmsTemplate",
}

// Version is the one version of the API that is served.
const Version = "2017-05-25"

const maxBodyBytes = 256 << 10 // 1,000 numbers in a form take 15 KB

// Gateway admits requests to the service. It remembers used nonces until their requests' times leave the clock
// window: from then on a replay fails by its time alone. It keeps a 64-bit hash of each: at 5,000 requests a second
// two are mistaken for one another once in a million runs.
type Gateway struct {
	keyID, keySecret string
	now              func() time.Time
	seed             maphash.Seed

	mu sync.Mutex
	// used lists nonces by the minute in which they are dropped, so that no request waits until millions were looked at.
	used map[int64]map[uint64]struct{}
}

// New returns a gateway that knows one access key.
func New(keyID, keySecret string, now func() time.Time) *Gateway {
	g := &Gateway{keyID: keyID, keySecret: keySecret, now: now, seed: maphash.MakeSeed()}
	g.Reset()
	return g
}

// Reset lets every nonce be used again.
func (g *Gateway) Reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used = map[int64]map[uint64]struct{}{}
}

// Admit reads a request and checks that it may be served. A refused call holds what could be read.
func (g *Gateway) Admit(r *http.Request) (*Call, *Refusal) {
	c := &Call{request: r}
	refused := c.read()
	if refused == nil {
		refused = c.route()
	}
	if refused == nil {
		refused = g.authenticate(c)
	}
	if format := c.Params.Get("Format"); refused == nil && format != "" && !strings.EqualFold(format, "JSON") {
		refused = Refuse(codeParameterInvalid)
		refused.Message = "The emulator answers in JSON alone: leave Format out or set it to JSON."
	}
	return c, refused
}

// Call is one request as it was read.
type Call struct {
	Action string     // empty where it is not served
	Params url.Values // those of the URL and of a form, each name once

	request *http.Request
	body    []byte
	query   url.Values // those of the URL alone
}

func (c *Call) read() *Refusal {
	r := c.request
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return Refuse(codeHTTPMethod)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	var ok bool
	if c.query, ok = parse(r.URL.RawQuery); !ok || err != nil || len(body) > maxBodyBytes {
		return Refuse(codeParameterInvalid)
	}
	c.body, c.Params = body, c.query
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && mediaType == "application/x-www-form-urlencoded" {
		// A name in both places is refused: it would be open which one counts.
		if c.Params, ok = parse(r.URL.RawQuery + "&" + string(body)); !ok {
			return Refuse(codeParameterInvalid)
		}
	}
	return nil
}

// route finds the action, as the gateway does before it looks at the signature. A
// client may name action and version in a header, in a parameter or in both. Two that
// differ are refused, because the older signature does not cover headers.
func (c *Call) route() *Refusal {
	action, same := agreed(c.request.Header.Get("X-Acs-Action"), c.Params.Get("Action"))
	if action == "" {
		return Refuse("MissingAction")
	}
	if !same || !slices.Contains(Actions, action) || c.request.URL.Path != "/" {
		return Refuse("InvalidAction.NotFound")
	}
	version, same := agreed(c.request.Header.Get("X-Acs-Version"), c.Params.Get("Version"))
	if version == "" {
		return Refuse("MissingVersion")
	}
	if !same || version != Version {
		return Refuse("InvalidVersion")
	}
	c.Action = action
	return nil
}

// agreed returns the one of two values that is given, and false where both are given and differ.
func agreed(header, param string) (string, bool) {
	value := cmp.Or(header, param)
	return value, value == cmp.Or(param, header)
}

// parse reads the parameters of a query or form. It reports false for a wrong escape, a
// name given twice, and text that is not UTF-8.
func parse(raw string) (url.Values, bool) {
	params, err := url.ParseQuery(raw)
	for name, values := range params {
		if len(values) > 1 || !utf8.ValidString(name) || !utf8.ValidString(values[0]) {
			return nil, false
		}
	}
	return params, err == nil
}
