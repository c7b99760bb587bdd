package emulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vector is a request as another vendor's client really sent it.
type vector struct {
	Client  string            `json:"client"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

const (
	vectorKeyID     = "LTAI5tTestKeyId"
	vectorKeySecret = "TestKeySecret0123456789"
)

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/signed-requests.json")
	require.NoError(t, err)
	var vs []vector
	require.NoError(t, json.Unmarshal(data, &vs))
	require.Len(t, vs, 5)
	return vs
}

// query returns what stands behind the "?".
func (v vector) query() string {
	_, query, _ := strings.Cut(v.URL, "?")
	return query
}

// request builds the request as net/http would hand it over. A URL is not
// parsed, so that a changed byte reaches the emulator whatever it is.
func (v vector) request() *http.Request {
	r := &http.Request{
		Method: v.Method, Host: v.Headers["host"], Header: http.Header{}, ContentLength: int64(len(v.Body)),
		URL: &url.URL{Path: "/", RawQuery: v.query()}, Body: http.NoBody,
	}
	if v.Body != "" {
		r.Body = readCloser{strings.NewReader(v.Body)}
	}
	for name, value := range v.Headers {
		if name != "host" {
			r.Header.Set(name, value)
		}
	}
	return r
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// at is the time that stands in the request.
func (v vector) at(t testing.TB) time.Time {
	t.Helper()
	text := v.Headers["x-acs-date"]
	if text == "" {
		values, err := url.ParseQuery(v.query() + "&" + v.Body)
		require.NoError(t, err)
		text = values.Get("Timestamp")
	}
	at, err := time.Parse(timestampForm, text)
	require.NoError(t, err)
	return at
}

// emulator returns one whose clock stands at the request's own time.
func (v vector) emulator(t *testing.T) (*Emulator, *clock) {
	t.Helper()
	c := &clock{at: v.at(t)}
	e, _ := newTest(t, Options{AccessKeyID: vectorKeyID, AccessKeySecret: vectorKeySecret, Now: c.now})
	return e, c
}

func (v vector) clone() vector {
	v.Headers = maps.Clone(v.Headers)
	return v
}

func TestOtherClientsRequestsAreAccepted(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Client, func(t *testing.T) {
			t.Parallel()
			e, c := v.emulator(t)
			got := serve(t, e, v.request())
			assert.Equal(t, http.StatusOK, got.Status)
			assert.Equal(t, "OK", got.Code, got.Message)

			assert.Equal(t, codeNonceUsed, serve(t, e, v.request()).Code, "the same request again")
			e.nonces.reset()
			c.advance(clockWindow)
			assert.Equal(t, "OK", serve(t, e, v.request()).Code, "15 minutes later")
			c.advance(time.Nanosecond)
			assert.Equal(t, codeTimeExpired, serve(t, e, v.request()).Code, "more than 15 minutes later")
			c.advance(-2*clockWindow - 2)
			assert.Equal(t, codeTimeExpired, serve(t, e, v.request()).Code, "more than 15 minutes early")
		})
	}
}

// TestEveryByteCounts changes each byte that a signature covers, and each of the
// signature itself, and expects every such request to be refused. Not covered
// are: headers that the list of signed headers does not name (user-agent,
// accept, content-length) and, with the older signature, all headers. A change
// that only spells an escape differently (%7b for %7B) asks for the same.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Client, func(t *testing.T) {
			t.Parallel()
			e, _ := v.emulator(t)
			tried := 0
			for changed, what := range changedVectors(v) {
				got := serve(t, e, changed.request())
				require.NotEqual(t, "OK", got.Code, what)
				require.NotEqual(t, http.StatusOK, got.Status, what)
				tried++
			}
			require.Greater(t, tried, 900)
			require.Empty(t, e.Sent())
			require.Equal(t, "OK", serve(t, e, v.request()).Code, "none of those used up the nonce")
		})
	}
}

// changedVectors yields the vector with one byte changed, for every byte.
func changedVectors(v vector) func(yield func(vector, string) bool) {
	return func(yield func(vector, string) bool) {
		for text, what := range changedTexts(v.query()) {
			c := v.clone()
			c.URL = "/?" + text
			if !sameParams(v.query(), text) && !yield(c, "query: "+what) {
				return
			}
		}
		for text, what := range changedTexts(v.Body) {
			c := v.clone()
			c.Body = text
			if !sameParams(v.Body, text) && !yield(c, "body: "+what) {
				return
			}
		}
		for text, what := range changedTexts(v.Method) {
			c := v.clone()
			c.Method = text
			if !yield(c, "method: "+what) {
				return
			}
		}
		for _, name := range signedHeaders(v) {
			for text, what := range changedTexts(v.Headers[name]) {
				c := v.clone()
				c.Headers[name] = text
				if !yield(c, name+": "+what) {
					return
				}
			}
		}
	}
}

// signedHeaders are those that the newer signature covers, and itself; with the
// older one, the headers that name the action, which must agree with the
// signed parameters.
func signedHeaders(v vector) []string {
	authorization, ok := v.Headers["authorization"]
	if !ok {
		return slices.DeleteFunc([]string{"x-acs-action", "x-acs-version"}, func(name string) bool {
			return v.Headers[name] == ""
		})
	}
	_, list, _ := strings.Cut(authorization, "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	return append(strings.Split(list, ";"), "authorization")
}

func changedTexts(s string) func(yield func(text, what string) bool) {
	return func(yield func(text, what string) bool) {
		for i := range len(s) {
			for _, b := range []byte{s[i] ^ 1, s[i] ^ 0x20, '0', '&'} {
				if b == s[i] {
					continue
				}
				text := s[:i] + string(rune(b)) + s[i+1:]
				if b >= 0x80 {
					continue
				}
				if !yield(text, text) {
					return
				}
			}
		}
	}
}

func sameParams(a, b string) bool {
	x, err1 := url.ParseQuery(a)
	y, err2 := url.ParseQuery(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}

// TestPublishedRPCVector is the example of Aliyun's page on the older signature.
func TestPublishedRPCVector(t *testing.T) {
	t.Parallel()
	params := map[string]string{
		"AccessKeyId": "testid", "AccountName": "<a%b'>", "Action": "SingleSendMail", "AddressType": "1",
		"Format": "XML", "HtmlBody": "4", "RegionId": "cn-hangzhou", "ReplyToAddress": "true",
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "Subject": "3", "TagName": "2",
		"ToAddress": "1@test.com", "Version": "2015-11-23", "Timestamp": "2016-10-20T06:27:56Z",
		"SignatureNonce": "c1b2c332-4cfb-4a0f-b8cc-ebe622aa0a5c",
	}
	assert.Equal(t, "llJfXJjBW3OacrVgxxsITgYaYm0=", signRPC("testsecret", http.MethodPost, params))
	params["Signature"] = "is not part of what is signed"
	assert.Equal(t, "llJfXJjBW3OacrVgxxsITgYaYm0=", signRPC("testsecret", http.MethodPost, params))
	assert.Contains(t, params, "Signature", "the caller's map stays as it is")
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"aZ09-_.~": "aZ09-_.~", " *+/": "%20%2A%2B%2F", "阿": "%E9%98%BF", `{"`: "%7B%22", "": "",
	} {
		var b strings.Builder
		writeEscaped(&b, in)
		assert.Equal(t, want, b.String())
	}
}

// signedACS3 returns a request with the newer signature over the given headers
// and those that every client sends.
func signedACS3(e *Emulator, query map[string]string, extra map[string]string, unsigned ...string) *http.Request {
	values := url.Values{}
	for name, value := range query {
		values.Set(name, value)
	}
	r := &http.Request{
		Method: http.MethodPost, Host: "dysmsapi.test", Header: http.Header{}, Body: http.NoBody,
		URL: &url.URL{Path: "/", RawQuery: values.Encode()},
	}
	headers := map[string]string{
		"x-acs-action": ActionSendSms, "x-acs-version": apiVersion, "x-acs-signature-nonce": "n-" + rand16(e),
		"x-acs-date":           e.opts.Now().UTC().Format(timestampForm),
		"x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
	maps.Copy(headers, extra)
	for name, value := range headers {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	names := append(slices.Sorted(maps.Keys(headers)), "host")
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(unsigned, name) })
	list := strings.Join(names, ";")
	c := &call{method: r.Method, host: r.Host, header: r.Header, query: query}
	r.Header.Set("Authorization", algorithmACS3+" Credential="+e.opts.AccessKeyID+",SignedHeaders="+list+
		",Signature="+signACS3(e.opts.AccessKeySecret, c.canonicalRequest(names, list)))
	return r
}

func rand16(e *Emulator) string { return e.random.requestID() }

func TestACS3Rules(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name     string
		extra    map[string]string
		unsigned []string
		want     string
	}{
		{"as clients send it", nil, nil, "OK"},
		{"temporary credentials", map[string]string{
			"x-acs-accesskey-id": DefaultAccessKeyID, "x-acs-security-token": "any token",
		}, nil, "OK"},
		{"space around a value is not signed", map[string]string{"x-acs-note": " a "}, nil, "OK"},
		{"another key in the second place", map[string]string{"x-acs-accesskey-id": "other"}, nil, codeKeyUnknown},
		{"host not signed", nil, []string{"host"}, codeSignatureBroken},
		{"date not signed", nil, []string{"x-acs-date"}, codeSignatureBroken},
		{"action not signed", nil, []string{"x-acs-action"}, codeSignatureBroken},
		{"a header of Aliyun's not signed", map[string]string{"x-acs-note": "a"}, []string{"x-acs-note"}, codeSignatureBroken},
		{"no date", map[string]string{"x-acs-date": ""}, nil, "Missingx-acs-date"},
		{"no nonce", map[string]string{"x-acs-signature-nonce": ""}, nil, "Missingx-acs-signature-nonce"},
		{"no body hash", map[string]string{"x-acs-content-sha256": ""}, nil, "Missingx-acs-content-sha256"},
		{"a date that is none", map[string]string{"x-acs-date": "today"}, nil, codeTimeFormat},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e, _ := newTest(t, Options{})
			got := serve(t, e, signedACS3(e, sending(), row.extra, row.unsigned...))
			assert.Equal(t, row.want, got.Code, got.Message)
		})
	}
}

func TestBrokenAuthorization(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	for _, authorization := range []string{
		"Bearer x", "ACS3-HMAC-SHA256", "ACS3-HMAC-SM3 Credential=a,SignedHeaders=host,Signature=b",
		"ACS3-HMAC-SHA256 Credential=a,Signature=b", "ACS3-HMAC-SHA256 SignedHeaders=host,Signature=b",
	} {
		r := signedACS3(e, sending(), nil)
		r.Header.Set("Authorization", authorization)
		got := serve(t, e, r)
		assert.Equal(t, codeSignatureBroken, got.Code, authorization)
		assert.Equal(t, http.StatusBadRequest, got.Status)
	}
}

// TestRefusedSignatures also holds the gateway's statuses and the rule that an
// answer never quotes what was signed.
func TestRefusedSignatures(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		change func(params map[string]string) // after signing
		code   string
		status int
	}{
		{"another key", func(p map[string]string) { p["AccessKeyId"] = "other" }, codeKeyUnknown, 404},
		{"a signature of something else", func(p map[string]string) { p["OutId"] = "x" }, codeSignatureWrong, 400},
		{"a parameter more", func(p map[string]string) { p["More"] = "x" }, codeSignatureWrong, 400},
		{"no key", func(p map[string]string) { delete(p, "AccessKeyId") }, "MissingAccessKeyId", 400},
		{"no signature", func(p map[string]string) { delete(p, "Signature") }, "MissingSignature", 400},
		{"no nonce", func(p map[string]string) { delete(p, "SignatureNonce") }, "MissingSignatureNonce", 400},
		{"no time", func(p map[string]string) { delete(p, "Timestamp") }, "MissingTimestamp", 400},
		{"no method", func(p map[string]string) { delete(p, "SignatureMethod") }, "MissingSignatureMethod", 400},
		{"a method that is not served", func(p map[string]string) { p["SignatureMethod"] = "HMAC-SHA256" }, codeSignatureBroken, 400},
		{"a time that is none", func(p map[string]string) { p["Timestamp"] = "2026-11-22 04:30:00" }, codeTimeFormat, 400},
		{"an old time", func(p map[string]string) { p["Timestamp"] = "2026-11-22T04:14:59Z" }, codeTimeExpired, 400},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e, _ := newTest(t, Options{})
			r := signed(e, ActionSendSms, sending())
			require.NoError(t, r.ParseForm())
			params := map[string]string{}
			for name := range r.PostForm {
				params[name] = r.PostForm.Get(name)
			}
			row.change(params)
			form := url.Values{}
			for name, value := range params {
				form.Set(name, value)
			}
			r.Body = readCloser{strings.NewReader(form.Encode())}
			got := serve(t, e, r)
			assert.Equal(t, row.code, got.Code)
			assert.Equal(t, row.status, got.Status)
			assert.Equal(t, "dysmsapi.test", got.HostID)
			assert.Contains(t, got.Recommend, "requestId="+got.RequestID)
			assert.NotContains(t, got.Message, "138")
			assert.NotContains(t, got.Message, "123456")
			assert.Empty(t, e.Sent())
		})
	}
}

func TestNoncesAreForgottenWithTheWindow(t *testing.T) {
	t.Parallel()
	n := newNonces()
	now := testStart
	size := func() int { return len(n.used) } // nobody else uses it here
	expiry := func() time.Time { return now.Add(clockWindow) }
	assert.True(t, n.use("a", expiry(), now))
	assert.False(t, n.use("a", expiry(), now))
	now = now.Add(clockWindow)
	assert.False(t, n.use("a", expiry(), now), "it is remembered as long as the request would pass")
	assert.True(t, n.use("b", expiry(), now))
	assert.Equal(t, 2, size())
	now = now.Add(2 * time.Minute)
	assert.True(t, n.use("c", expiry(), now))
	assert.Equal(t, 2, size(), "a is forgotten")
	now = now.Add(time.Hour)
	assert.True(t, n.use("a", expiry(), now))
	assert.Equal(t, 1, size())
	assert.Len(t, n.expiring, 1)
	n.reset()
	assert.True(t, n.use("a", expiry(), now))
}
