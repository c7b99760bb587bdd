package emulator

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The actions that the emulator serves, and the one version of them.
const (
	ActionSendSms          = "SendSms"
	ActionQuerySendDetails = "QuerySendDetails"
	ActionQuerySmsSign     = "QuerySmsSign"
	ActionQuerySmsTemplate = "QuerySmsTemplate"

	apiVersion = "2017-05-25"
)

// maxBodyBytes bounds a request's body; 1,000 numbers in a form take 15 KB.
const maxBodyBytes = 256 << 10

func knownAction(name string) bool {
	switch name {
	case ActionSendSms, ActionQuerySendDetails, ActionQuerySmsSign, ActionQuerySmsTemplate:
		return true
	default:
		return false
	}
}

// call is one request as it was read: its parameters, and what its signature
// covers.
type call struct {
	method string
	host   string
	header http.Header
	body   []byte
	query  map[string]string // the parameters of the URL
	params map[string]string // those, and the ones of a form
	action string
}

// readCall reads a request. Where it refuses, the call holds what could be read.
func readCall(r *http.Request) (*call, *refusal) {
	c := &call{method: r.Method, host: r.Host, header: r.Header, query: map[string]string{}}
	c.params = c.query
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return c, refuse(codeMethodUnknown)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	if err != nil || len(body) > maxBodyBytes {
		return c, refuse(codeParameterInvalid)
	}
	c.body = body
	if !parsePairs(r.URL.RawQuery, c.query) {
		return c, refuse(codeParameterInvalid)
	}
	if isForm(r.Header) && len(body) > 0 {
		c.params = make(map[string]string, len(c.query)+16)
		for name, value := range c.query {
			c.params[name] = value
		}
		// One name in both places would leave open which of them counts.
		if !parsePairs(string(body), c.params) {
			return c, refuse(codeParameterInvalid)
		}
	}
	return c, c.route(r.URL.Path)
}

// route finds the action. The gateway does so before it looks at the signature.
// A client may name action and version in a header, in a parameter or in both;
// two that differ are refused, because the old signature leaves headers open.
func (c *call) route(path string) *refusal {
	action, same := agreed(c.header.Get("X-Acs-Action"), c.params["Action"])
	if action == "" {
		return missing("Action")
	}
	if !same || !knownAction(action) || path != "/" {
		return refuse(codeActionUnknown)
	}
	version, same := agreed(c.header.Get("X-Acs-Version"), c.params["Version"])
	if version == "" {
		return missing("Version")
	}
	if !same || version != apiVersion {
		return refuse(codeVersionInvalid)
	}
	c.action = action
	return nil
}

// agreed returns the one of two values that is given, and false where both are
// and differ.
func agreed(header, param string) (string, bool) {
	if header == "" {
		return param, true
	}
	return header, param == "" || param == header
}

func isForm(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "application/x-www-form-urlencoded"
}

// parsePairs adds the parameters of a query or form to a map. It reports false
// for an escape that is wrong, a name given twice, and text that is not UTF-8.
func parsePairs(raw string, into map[string]string) bool {
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || !utf8.ValidString(name) {
			return false
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || !utf8.ValidString(value) {
			return false
		}
		if _, twice := into[name]; twice {
			return false
		}
		into[name] = value
	}
	return true
}
