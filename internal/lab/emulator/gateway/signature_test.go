package gateway

import (
	"encoding/json"
	"fmt"
	"iter"
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

// gateway returns one whose clock stands at the request's own time, and the clock.
func (v vector) gateway(t *testing.T) (*Gateway, *time.Time) {
	t.Helper()
	now := v.at(t)
	return New(vectorKeyID, vectorKeySecret, func() time.Time { return now }), &now
}

func TestOtherClientsRequestsAreAdmitted(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Client, func(t *testing.T) {
			t.Parallel()
			g, now := v.gateway(t)
			assert.Equal(t, "OK", admit(g, v.request()))
			assert.Equal(t, "SignatureNonceUsed", admit(g, v.request()), "the same request again")
			g.Reset()
			*now = now.Add(clockWindow)
			assert.Equal(t, "OK", admit(g, v.request()), "15 minutes later")
			*now = now.Add(time.Nanosecond)
			assert.Equal(t, "InvalidTimeStamp.Expired", admit(g, v.request()), "more than 15 minutes later")
			*now = now.Add(-2*clockWindow - 2)
			assert.Equal(t, "InvalidTimeStamp.Expired", admit(g, v.request()), "more than 15 minutes early")
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
			g, _ := v.gateway(t)
			tried := 0
			for changed, what := range changedVectors(v) {
				require.NotEqual(t, "OK", admit(g, changed.request()), what)
				tried++
			}
			require.Greater(t, tried, 900)
			require.Equal(t, "OK", admit(g, v.request()), "none of those used up the nonce")
		})
	}
}

// changedVectors yields the vector with one byte changed, for every byte.
func changedVectors(v vector) iter.Seq2[vector, string] {
	return func(yield func(vector, string) bool) {
		change := func(where, from string, apply func(c *vector, to string), same func(a, b string) bool) bool {
			for to := range changedTexts(from) {
				c := v
				c.Headers = maps.Clone(v.Headers)
				apply(&c, to)
				if !same(from, to) && !yield(c, where+": "+to) {
					return false
				}
			}
			return true
		}
		never := func(string, string) bool { return false }
		ok := change("query", v.query(), func(c *vector, to string) { c.URL = "/?" + to }, sameParams) &&
			change("body", v.Body, func(c *vector, to string) { c.Body = to }, sameParams) &&
			change("method", v.Method, func(c *vector, to string) { c.Method = to }, never)
		for _, name := range signedHeaders(v) {
			ok = ok && change(name, v.Headers[name], func(c *vector, to string) { c.Headers[name] = to }, never)
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

func changedTexts(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(s) {
			for _, b := range []byte{s[i] ^ 1, s[i] ^ 0x20, '0', '&'} {
				if b != s[i] && b < 0x80 && !yield(s[:i]+string(rune(b))+s[i+1:]) {
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
	params := url.Values{}
	for name, value := range map[string]string{
		"AccessKeyId": "testid", "AccountName": "<a%b'>", "Action": "SingleSendMail", "AddressType": "1",
		"Format": "XML", "HtmlBody": "4", "RegionId": "cn-hangzhou", "ReplyToAddress": "true",
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "Subject": "3", "TagName": "2",
		"ToAddress": "1@test.com", "Version": "2015-11-23", "Timestamp": "2016-10-20T06:27:56Z",
		"SignatureNonce": "c1b2c332-4cfb-4a0f-b8cc-ebe622aa0a5c",
	} {
		params.Set(name, value)
	}
	assert.Equal(t, "llJfXJjBW3OacrVgxxsITgYaYm0=", signRPC("testsecret", http.MethodPost, params))
	params.Set("Signature", "is not part of what is signed")
	assert.Equal(t, "llJfXJjBW3OacrVgxxsITgYaYm0=", signRPC("testsecret", http.MethodPost, params))
	assert.Contains(t, params, "Signature", "the caller's map stays as it is")
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"aZ09-_.~": "aZ09-_.~", " *+/": "%20%2A%2B%2F", "阿": "%E9%98%BF", `{"`: "%7B%22", "": "",
	} {
		assert.Equal(t, want+"="+want, canonicalQuery(url.Values{in: {in}}))
	}
}

// signedACS3 returns a request with the newer signature over the given headers
// and those that every client sends.
func signedACS3(query, extra map[string]string, unsigned ...string) *http.Request {
	values := url.Values{}
	for name, value := range query {
		values.Set(name, value)
	}
	r := &http.Request{
		Method: http.MethodPost, Host: "dysmsapi.test", Header: http.Header{}, Body: http.NoBody,
		URL: &url.URL{Path: "/", RawQuery: values.Encode()},
	}
	headers := map[string]string{
		"x-acs-action": ActionSendSms, "x-acs-version": Version,
		"x-acs-signature-nonce": fmt.Sprint("n-", nonceCounter.Add(1)), "x-acs-date": testStart.Format(timestampForm),
		"x-acs-content-sha256": hexSHA256(nil),
	}
	maps.Copy(headers, extra)
	for name, value := range headers {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	names := append(slices.Sorted(maps.Keys(headers)), "host")
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(unsigned, name) })
	c := &Call{request: r, query: values}
	r.Header.Set("Authorization", algorithmACS3+" Credential="+testKey+",SignedHeaders="+strings.Join(names, ";")+
		",Signature="+signACS3(testSecret, c.canonicalRequest(names)))
	return r
}

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
			"x-acs-accesskey-id": testKey, "x-acs-security-token": "any token",
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
		{"a date that is none", map[string]string{"x-acs-date": "today"}, nil, "InvalidTimeStamp.Format"},
	}
	for _, row := range rows {
		assert.Equal(t, row.want, admit(newTest(), signedACS3(sending(), row.extra, row.unsigned...)), row.name)
	}
}

func TestBrokenAuthorization(t *testing.T) {
	t.Parallel()
	for _, authorization := range []string{
		"Bearer x", "ACS3-HMAC-SHA256", "ACS3-HMAC-SM3 Credential=a,SignedHeaders=host,Signature=b",
		"ACS3-HMAC-SHA256 Credential=a,Signature=b", "ACS3-HMAC-SHA256 SignedHeaders=host,Signature=b",
	} {
		r := signedACS3(sending(), nil)
		r.Header.Set("Authorization", authorization)
		_, refused := newTest().Admit(r)
		require.NotNil(t, refused, authorization)
		assert.Equal(t, Refusal{http.StatusBadRequest, codeSignatureBroken, Refuse(codeSignatureBroken).Message}, *refused)
	}
}

func TestRefusedSignatures(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(params url.Values) // after signing
		code   string
		status int
	}{
		{"another key", func(p url.Values) { p.Set("AccessKeyId", "other") }, codeKeyUnknown, 404},
		{"a signature of something else", func(p url.Values) { p.Set("OutId", "x") }, "SignatureDoesNotMatch", 400},
		{"a parameter more", func(p url.Values) { p.Set("More", "x") }, "SignatureDoesNotMatch", 400},
		{"no key", func(p url.Values) { p.Del("AccessKeyId") }, "MissingAccessKeyId", 400},
		{"no signature", func(p url.Values) { p.Del("Signature") }, "MissingSignature", 400},
		{"no nonce", func(p url.Values) { p.Del("SignatureNonce") }, "MissingSignatureNonce", 400},
		{"no time", func(p url.Values) { p.Del("Timestamp") }, "MissingTimestamp", 400},
		{"no version", func(p url.Values) { p.Del("SignatureVersion") }, "MissingSignatureVersion", 400},
		{"another version", func(p url.Values) { p.Set("SignatureVersion", "2.0") }, codeSignatureBroken, 400},
		{"another method", func(p url.Values) { p.Set("SignatureMethod", "HMAC-SHA256") }, "InvalidSignatureMethod", 400},
		{"a wrong time", func(p url.Values) { p.Set("Timestamp", "2026-11-22 04:30:00") }, "InvalidTimeStamp.Format", 400},
		{"an old time", func(p url.Values) { p.Set("Timestamp", "2026-11-22T04:14:59Z") }, "InvalidTimeStamp.Expired", 400},
	} {
		_, refused := newTest().Admit(signed(sending(), row.change))
		require.NotNil(t, refused, row.name)
		assert.Equal(t, row.code, refused.Code, row.name)
		assert.Equal(t, row.status, refused.Status, row.name)
		// The service's message goes on with what it signed, phone and passcode included.
		_, text, found := strings.Cut(refused.Message, "server string to sign is:POST&%2F&")
		assert.Equal(t, row.code == "SignatureDoesNotMatch", found, row.name)
		assert.Equal(t, found, strings.Contains(text, "PhoneNumbers%3D13812345678"), row.name)
	}
	assert.Equal(t, "OK", admit(newTest(), signed(map[string]string{"SignatureMethod": "-"}, nil)), "it may be left out")

	r := signedACS3(sending(), nil)
	r.URL.RawQuery += "&More=1"
	_, refused := newTest().Admit(r)
	require.NotNil(t, refused)
	assert.Contains(t, refused.Message, "server string to sign is:POST\n/\nMore=1&OutId=req-1&PhoneNumbers=13812345678&")
}

func TestNoncesAreDroppedWithTheWindow(t *testing.T) {
	t.Parallel()
	g := newTest()
	now := testStart
	size := func() (size int) {
		for _, used := range g.used {
			size += len(used)
		}
		return size
	}
	expiry := func() time.Time { return now.Add(clockWindow) }
	assert.True(t, g.useNonce("a", expiry(), now))
	assert.False(t, g.useNonce("a", expiry(), now))
	now = now.Add(clockWindow)
	assert.False(t, g.useNonce("a", expiry(), now), "it is remembered as long as the request would pass")
	assert.True(t, g.useNonce("b", expiry(), now))
	assert.Equal(t, 2, size())
	now = now.Add(2 * time.Minute)
	assert.True(t, g.useNonce("c", expiry(), now))
	assert.Equal(t, 2, size(), "a is dropped")
	now = now.Add(time.Hour)
	assert.True(t, g.useNonce("a", expiry(), now))
	assert.Equal(t, 1, size())
	assert.Len(t, g.used, 1)
	g.Reset()
	assert.True(t, g.useNonce("a", expiry(), now))
}
