package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testKey, testSecret = "LTAItest", "secret"

// testStart is the time at which test clocks stand.
var testStart = time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC)

func newTest() *Gateway { return New(testKey, testSecret, func() time.Time { return testStart }) }

// admit is the code that a request draws; OK where it is admitted.
func admit(g *Gateway, r *http.Request) string {
	if _, refused := g.Admit(r); refused != nil {
		return refused.Code
	}
	return "OK"
}

var nonceCounter atomic.Int64

func signRPC(secret, method string, params url.Values) string {
	return signText(secret, stringRPC(method, params))
}

// sending are parameters of a SendSms; the gateway does not look at them.
func sending() map[string]string {
	return map[string]string{"PhoneNumbers": "13812345678", "TemplateParam": `{"code":"123456"}`, "OutId": "req-1"}
}

// signed returns a request with the older signature, in a form. Changes after
// signing make it wrong.
func signed(params map[string]string, after func(url.Values)) *http.Request {
	all := map[string]string{
		"Action": ActionSendSms, "Version": Version, "AccessKeyId": testKey,
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
		"SignatureNonce": fmt.Sprint("nonce-", nonceCounter.Add(1)), "Timestamp": testStart.Format(timestampForm),
	}
	maps.Copy(all, params)
	form := url.Values{}
	for name, value := range all {
		if value != "-" {
			form.Set(name, value)
		}
	}
	form.Set("Signature", signRPC(testSecret, http.MethodPost, form))
	if after != nil {
		after(form)
	}
	r := httptest.NewRequest(http.MethodPost, "http://dysmsapi.test/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestRouting(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	query := func(raw string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = raw } }
	for _, row := range []struct {
		name   string
		action string
		change func(*http.Request)
		code   string
		status int
	}{
		{"action in both places", "SendSms", header("X-Acs-Action", "SendSms"), "OK", 200},
		{"version in both places", "SendSms", header("X-Acs-Version", Version), "OK", 200},
		{"an action that is not served", "SendCardSms", nil, "InvalidAction.NotFound", 404},
		{"the action in other letters", "sendsms", nil, "InvalidAction.NotFound", 404},
		{"two actions", "SendSms", header("X-Acs-Action", "QuerySendDetails"), "InvalidAction.NotFound", 404},
		{"two versions", "SendSms", header("X-Acs-Version", "2016-01-01"), "InvalidVersion", 400},
		{"somebody else's authorization", "SendSms", header("Authorization", "Basic eDp5"), "OK", 200},
		{"another path", "SendSms", func(r *http.Request) { r.URL.Path = "/sms" }, "InvalidAction.NotFound", 404},
		{"another method", "SendSms", func(r *http.Request) { r.Method = http.MethodPut }, codeHTTPMethod, 403},
		{"a form that does not say so", "SendSms", header("Content-Type", "text/plain"), "MissingAction", 400},
		{"one name twice", "SendSms", query("OutId=req-1"), codeParameterInvalid, 400},
		{"a wrong escape", "SendSms", query("A=%zz"), codeParameterInvalid, 400},
		{"bytes that are no text", "SendSms", query("A=%ff"), codeParameterInvalid, 400},
		{"a name that is no text", "SendSms", query("%ff=A"), codeParameterInvalid, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			params := sending()
			params["Action"] = row.action
			r := signed(params, nil)
			if row.change != nil {
				row.change(r)
			}
			c, refused := newTest().Admit(r)
			if row.code == "OK" {
				require.Nil(t, refused)
				assert.Equal(t, row.action, c.Action)
				assert.Equal(t, "req-1", c.Params.Get("OutId"))
				return
			}
			require.NotNil(t, refused)
			assert.Equal(t, row.code, refused.Code)
			assert.Equal(t, row.status, refused.Status)
		})
	}
	for _, action := range Actions {
		assert.Equal(t, "OK", admit(newTest(), signed(map[string]string{"Action": action}, nil)))
	}
}

func TestActionAndVersionAreNeeded(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"": "MissingAction", "Action=SendSms": "MissingVersion",
		"Action=SendSms&Version=2017": "InvalidVersion", "Action=SendSms&Version=" + Version: "MissingAccessKeyId",
	} {
		assert.Equal(t, want, admit(newTest(), httptest.NewRequest(http.MethodGet, "http://dysmsapi.test/?"+query, nil)), query)
	}
	body := strings.NewReader("OutId=" + strings.Repeat("x", maxBodyBytes))
	assert.Equal(t, codeParameterInvalid, admit(newTest(), httptest.NewRequest(http.MethodPost, "http://dysmsapi.test/", body)))
}

// TestOnlyJSON: another format is refused, since the answer would come in JSON
// after the message was accepted.
func TestOnlyJSON(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"JSON": "OK", "json": "OK", "XML": codeParameterInvalid, "": "OK"} {
		assert.Equal(t, want, admit(newTest(), signed(map[string]string{"Format": format}, nil)), format)
	}
	_, refused := newTest().Admit(signed(map[string]string{"Format": "XML"}, nil))
	assert.Contains(t, refused.Message, "set it to JSON")
}

// FuzzAdmit sends anything at all: it is refused with a code, since no signature
// is right.
func FuzzAdmit(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Method, v.query(), v.Body, v.Headers["content-type"], v.Headers["authorization"],
			v.Headers["x-acs-action"], v.Headers["x-acs-date"], v.Headers["x-acs-signature-nonce"])
	}
	f.Add("GET", "Action=SendSms&%=&a=b&&=", "", "", "ACS3-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", "", "", "")
	f.Fuzz(func(t *testing.T, method, query, body, contentType, authorization, action, date, nonce string) {
		g := New(vectorKeyID, "another secret", func() time.Time { return testStart })
		_, refused := g.Admit(&http.Request{
			Method: method, Host: "h", URL: &url.URL{Path: "/", RawQuery: query}, Body: readCloser{strings.NewReader(body)},
			Header: http.Header{
				"Content-Type": {contentType}, "Authorization": {authorization}, "X-Acs-Action": {action},
				"X-Acs-Date": {date}, "X-Acs-Signature-Nonce": {nonce}, "X-Acs-Version": {Version},
			},
		})
		if refused == nil || refused.Code == "" || refused.Status == http.StatusOK {
			t.Fatalf("refused: %+v", refused)
		}
	})
}
