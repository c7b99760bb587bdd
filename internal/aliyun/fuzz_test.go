package aliyun

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// memory is a network without one: it writes the request to a connection that
// takes everything, as the transport would, and answers with what it was given.
type memory struct {
	status int
	header http.Header
	body   []byte
}

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	conn := &fencedConn{Conn: &stubConn{take: 1 << 20}, reading: true}
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{Conn: conn})
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	if m.status == 0 {
		return nil, fmt.Errorf("%s: %w", r.URL, io.ErrUnexpectedEOF)
	}
	return &http.Response{StatusCode: m.status, Header: m.header, Body: io.NopCloser(bytes.NewReader(m.body))}, nil
}

func FuzzAnswers(f *testing.F) {
	add := func(status int, body string) { f.Add(status, "application/json", []byte(body)) }
	add(200, okBody)
	add(200, `{"Code":"OK"}`)
	add(200, `{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发小时级流控Permits:5"}`)
	add(200, `{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"13812345678invalid mobile number"}`)
	add(400, `{"Code":"x13812345678","Message":"+86 138-1234-5678 493817","RequestId":"13812345678","BizId":"13812345678"}`)
	add(403, `{"code":"Throttling","message":"\u0000\ud800","Recommend":"https://x/?q=493817","AccessDeniedDetail":{"a":[1]}}`)
	add(200, `{"Code":"OK","BizId":{"a":1},"Message":[],"RequestId":7}`)
	add(200, `{"Code":"OK","TotalCount":"1","SmsSendDetailDTOs":{"SmsSendDetailDTO":[{"OutId":"req-1","SendStatus":2,"ErrCode":"1381\u00002345678"}]}}`)
	add(200, `{"Code":"OK","TotalCount":1e99,"SmsSendDetailDTOs":{"SmsSendDetailDTO":[null,{"SendStatus":"3"}]}}`)
	add(200, `{"Code":"OK","SignStatus":1,"Reason":"13812345678"}`)
	add(200, `{"Code":"OK","SignStatus":2,"TemplateStatus":2,"TemplateType":1,"Reason":"493817 at https://x/?y","TemplateContent":"${code}${13812345678}"}`)
	add(200, `{"Code":"OK","SignStatus":"1","TemplateStatus":1e99,"TemplateType":null,"TemplateContent":["${a"]}`)
	add(404, `{"Code":"InvalidAction.NotFound","Message":"x"}`)
	add(503, "")
	add(200, "[1]")
	add(200, "null")
	add(0, "")
	f.Add(400, "text/xml;charset=utf-8", []byte("<Error><Code>Throttling</Code></Error>"))

	options := testOptions("127.0.0.1:1")
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		s, err := New(options)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.http.Transport = memory{status, http.Header{"Content-Type": {contentType}}, body}
		msg := testMessage()

		outcome := s.Send(t.Context(), msg, time.Time{})
		if !slices.Contains(passcode.Classes(), outcome.Class) || outcome.Code == "" {
			t.Fatalf("class %q, code %q", outcome.Class, outcome.Code)
		}
		if (outcome.Class == passcode.ClassOK) != (outcome.BizID != "") {
			t.Fatalf("class %q with BizID %q", outcome.Class, outcome.BizID)
		}
		if outcome.Class == passcode.ClassPhoneLimited && outcome.Window <= 0 {
			t.Fatal("a closed phone without a window")
		}
		if status == 0 && outcome.Class != passcode.ClassInDoubt {
			t.Fatalf("written, unanswered, and %q", outcome.Class)
		}
		checkText(t, outcome.Code, maxCodeBytes)
		checkText(t, outcome.Message, maxMessageBytes)
		for _, id := range []string{outcome.BizID, outcome.ProviderRequestID} {
			if strings.Contains(id, "13812345678") || len(id) > maxIDBytes {
				t.Fatalf("receipt %q", id)
			}
		}

		finding, err := s.Lookup(t.Context(), msg.Phone, msg.RequestID, noon)
		var lookup *LookupError
		if err != nil && !errors.As(err, &lookup) {
			t.Fatalf("%T", err)
		}
		if lookup != nil {
			checkText(t, lookup.Code, maxCodeBytes)
			checkText(t, err.Error(), 2*maxCodeBytes)
		}
		checkText(t, finding.ErrorCode, maxCodeBytes)

		sign, err := s.ReviewSign(t.Context(), "测试签名")
		checkInquiry(t, err, sign.Approval == "")
		checkFit(t, sign.Note, maxMessageBytes)
		template, err := s.ReviewTemplate(t.Context(), "SMS_CN")
		checkInquiry(t, err, template.Approval == "" || template.Kind == "")
		checkFit(t, template.Note, maxMessageBytes)
	})
}

// checkInquiry: an inquiry is answered, or there is a reason.
func checkInquiry(t *testing.T, err error, unanswered bool) {
	t.Helper()
	if unanswered != (err != nil) {
		t.Fatalf("unanswered %t, error %v", unanswered, err)
	}
	var inquiry *InquiryError
	if err == nil {
		return
	}
	if !errors.As(err, &inquiry) || inquiry.Reason == "" || inquiry.Code == "" {
		t.Fatalf("%T without reason or code", err)
	}
	checkFit(t, inquiry.Code, maxCodeBytes)
	checkFit(t, inquiry.Message, maxMessageBytes)
}

// FuzzScrub looks for the secrets in scrubbed texts, whatever the secrets are.
func FuzzScrub(f *testing.F) {
	f.Add("13812345678 493817", "493817", "13812345678", "Zebra")
	f.Add("4938493817", "4938", "13812345678", "")
	f.Add("1212121", "1212", "18624017194", "*")
	f.Fuzz(func(t *testing.T, raw, code, digits, param string) {
		msg := testMessage()
		msg.Code, msg.Phone = passcode.NewPasscode(code), passcode.NewPhone("+"+digits)
		msg.Params = map[string]string{"p": param}
		if _, ok := digitsOf(msg.Phone); !ok || len(code) < 4 || len(code) > 6 || strings.ContainsFunc(code, notAlphanumeric) {
			t.Skip()
		}
		scrub := newScrubber(msg)
		for _, text := range []string{scrub.text(raw), scrub.id(raw)} {
			if strings.Contains(text, digits) {
				t.Fatalf("the phone is in %q", text)
			}
		}
		text := scrub.text(raw)
		if strings.Contains(strings.ToLower(text), strings.ToLower(code)) && !strings.Contains("[url]", strings.ToLower(code)) {
			t.Fatalf("the passcode is in %q", text)
		}
		if !utf8.ValidString(text) || len(text) > maxMessageBytes {
			t.Fatalf("%q", text)
		}
		if got := scrub.code(raw); got != raw && got != unreadableCode {
			t.Fatalf("%q", got)
		}
	})
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// checkText judges what an answer about the test's message left to be seen.
func checkText(t *testing.T, text string, limit int) {
	t.Helper()
	checkFit(t, text, limit)
	for _, secret := range []string{testCode, "Zebra-Shop"} {
		if strings.Contains(text, secret) {
			t.Fatalf("a secret in %q", text)
		}
	}
}

// checkFit judges what an answer about no message left to be seen.
func checkFit(t *testing.T, text string, limit int) {
	t.Helper()
	if !utf8.ValidString(text) || len(text) > limit || text != printable(text) {
		t.Fatalf("no fit text: %q", text)
	}
	if strings.Contains(text, "://") {
		t.Fatalf("a URL in %q", text)
	}
	if digitRuns.MatchString(text) {
		t.Fatalf("a number in %q", text)
	}
}
