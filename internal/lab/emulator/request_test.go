package emulator

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRouting(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	rows := []struct {
		name   string
		action string
		change func(*http.Request)
		code   string
		status int
	}{
		{"action in a parameter", "SendSms", nil, "OK", 200},
		{"action in both places", "SendSms", header("X-Acs-Action", "SendSms"), "OK", 200},
		{"version in both places", "SendSms", header("X-Acs-Version", apiVersion), "OK", 200},
		{"an action that is not served", "SendBatchSms", nil, codeActionUnknown, 404},
		{"the action in other letters", "sendsms", nil, codeActionUnknown, 404},
		{"two actions", "SendSms", header("X-Acs-Action", "QuerySendDetails"), codeActionUnknown, 404},
		{"two versions", "SendSms", header("X-Acs-Version", "2016-01-01"), codeVersionInvalid, 400},
		{"somebody else's authorization", "SendSms", header("Authorization", "Basic eDp5"), "OK", 200},
		{"another path", "SendSms", func(r *http.Request) { r.URL.Path = "/sms" }, codeActionUnknown, 404},
		{"another method", "SendSms", func(r *http.Request) { r.Method = http.MethodPut }, codeMethodUnknown, 403},
		{"a form that does not say so", "SendSms", header("Content-Type", "text/plain"), "MissingAction", 400},
		{"one name twice", "SendSms", func(r *http.Request) { r.URL.RawQuery = "OutId=req-1" }, codeParameterInvalid, 400},
		{"an escape that is none", "SendSms", func(r *http.Request) { r.URL.RawQuery = "A=%zz" }, codeParameterInvalid, 400},
		{"bytes that are no text", "SendSms", func(r *http.Request) { r.URL.RawQuery = "A=%ff" }, codeParameterInvalid, 400},
		{"a name that is no text", "SendSms", func(r *http.Request) { r.URL.RawQuery = "%ff=A" }, codeParameterInvalid, 400},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e, _ := newTest(t, Options{})
			r := signed(e, row.action, sending())
			if row.change != nil {
				row.change(r)
			}
			got := serve(t, e, r)
			assert.Equal(t, row.code, got.Code, got.Message)
			assert.Equal(t, row.status, got.Status)
		})
	}
}

func TestActionAndVersionAreNeeded(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	for query, want := range map[string]string{
		"": "MissingAction", "Action=SendSms": "MissingVersion",
		"Action=SendSms&Version=2017": codeVersionInvalid, "Action=SendSms&Version=" + apiVersion: "MissingAccessKeyId",
	} {
		got := serve(t, e, httptest.NewRequest(http.MethodGet, "http://dysmsapi.test/?"+query, nil))
		assert.Equal(t, want, got.Code, query)
	}
	assert.Equal(t, map[string]int64{"unknown": 3, "SendSms": 1}, e.Stats().Requests)
}

func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	body := "OutId=" + strings.Repeat("x", maxBodyBytes)
	got := serve(t, e, httptest.NewRequest(http.MethodPost, "http://dysmsapi.test/", strings.NewReader(body)))
	assert.Equal(t, codeParameterInvalid, got.Code)
}

// FuzzRequest sends anything at all: whatever comes, the answer is JSON with a
// code, and nothing is accepted without a right signature.
func FuzzRequest(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Method, v.query(), v.Body, v.Headers["content-type"], v.Headers["authorization"],
			v.Headers["x-acs-action"], v.Headers["x-acs-date"], v.Headers["x-acs-signature-nonce"])
	}
	f.Add("GET", "Action=SendSms&%=&a=b&&=", "", "", "ACS3-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", "", "", "")
	f.Fuzz(func(t *testing.T, method, query, body, contentType, authorization, action, date, nonce string) {
		// The key is another than the vectors', so that none of them is right.
		e, _ := newTest(t, Options{AccessKeyID: vectorKeyID, AccessKeySecret: "another secret"})
		r := &http.Request{
			Method: method, Host: "h", URL: &url.URL{Path: "/", RawQuery: query}, Body: readCloser{strings.NewReader(body)},
			Header: http.Header{
				"Content-Type": {contentType}, "Authorization": {authorization}, "X-Acs-Action": {action},
				"X-Acs-Date": {date}, "X-Acs-Signature-Nonce": {nonce}, "X-Acs-Version": {apiVersion},
			},
		}
		got := serve(t, e, r)
		if got.Code == "" || got.Code == "OK" || got.Status == http.StatusOK || len(e.Sent()) > 0 {
			t.Fatalf("status %d, code %q, %d accepted", got.Status, got.Code, len(e.Sent()))
		}
	})
}

// FuzzSend signs whatever it is given: what is accepted keeps the rules.
func FuzzSend(f *testing.F) {
	f.Add("13812345678", "阿里云", "SMS_1", `{"code":"123456"}`, "req-1")
	f.Add("13812345678,85268326366", "a", "b", `{"code":"0a0A","name":"x"}`, "")
	f.Add("+8613812345678", "a", "b", `{"code":1234}`, "\x00")
	f.Fuzz(func(t *testing.T, phones, sign, template, param, outID string) {
		e, _ := newTest(t, Options{Limits: true})
		got := do(t, e, ActionSendSms, map[string]string{
			"PhoneNumbers": phones, "SignName": sign, "TemplateCode": template, "TemplateParam": param, "OutId": outID,
		})
		sent := e.Sent()
		if (got.Code == "OK") != (len(sent) > 0) || (got.Code == "OK") != (got.BizID != "") {
			t.Fatalf("code %q, BizId %q, %d accepted", got.Code, got.BizID, len(sent))
		}
		for _, s := range sent {
			if !isPasscode(s.Code) || s.OutID != outID || strings.Trim(s.Phone, "0123456789") != "" {
				t.Fatalf("accepted: %+v", s)
			}
		}
	})
}
