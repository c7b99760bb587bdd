package aliyun

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/wire"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// sink is the connection of memory: it takes everything, and gives nothing.
type sink struct {
	net.Conn
	closed chan struct{}
}

func (s sink) Read([]byte) (int, error)    { <-s.closed; return 0, io.EOF }
func (s sink) Write(p []byte) (int, error) { return len(p), nil }
func (s sink) Close() error                { close(s.closed); return nil }

// memory is a network without one: it writes the request to a connection, as the
// transport would, and answers with what it was given.
type memory struct {
	status int
	header http.Header
	body   []byte
}

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	conn := wire.Fence(sink{closed: make(chan struct{})})
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{Conn: conn})
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = conn.Read(nil) })
	err := errors.Join(r.Write(conn), conn.Close())
	reader.Wait()
	if err != nil {
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
		s.wire.HTTP.Transport = memory{status, http.Header{"Content-Type": {contentType}}, body}
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
		checkText(t, outcome.Code, answer.MaxCodeBytes)
		checkText(t, outcome.Message, answer.MaxMessageBytes)
		for _, id := range []string{outcome.BizID, outcome.ProviderRequestID} {
			if strings.Contains(id, "13812345678") || len(id) > answer.MaxIDBytes {
				t.Fatalf("receipt %q", id)
			}
		}

		finding, err := s.Lookup(t.Context(), msg.Phone, msg.RequestID, noon)
		var lookup *answer.Failure
		if err != nil && !errors.As(err, &lookup) {
			t.Fatalf("%T", err)
		}
		if lookup != nil {
			checkText(t, lookup.Code, answer.MaxCodeBytes)
			checkText(t, err.Error(), 2*answer.MaxCodeBytes)
		}
		checkText(t, finding.ErrorCode, answer.MaxCodeBytes)

		sign, err := s.ReviewSign(t.Context(), "测试签名")
		checkFailure(t, err)
		checkFit(t, sign.Note, answer.MaxMessageBytes)
		template, err := s.ReviewTemplate(t.Context(), "SMS_CN")
		checkFailure(t, err)
		checkFit(t, template.Note, answer.MaxMessageBytes)
	})
}

// checkFailure: a question is answered, or there is a reason.
func checkFailure(t *testing.T, err error) {
	t.Helper()
	var failure *answer.Failure
	if err == nil {
		return
	}
	if !errors.As(err, &failure) || failure.Reason() == "" || failure.Code == "" {
		t.Fatalf("%T without reason or code", err)
	}
	checkFit(t, failure.Code, answer.MaxCodeBytes)
	checkFit(t, failure.Message, answer.MaxMessageBytes)
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

// digitRuns are what may be a phone number or a part of it.
var digitRuns = regexp.MustCompile(`\pN(?:[ \t().+\-]{0,2}\pN){6,}`)

// checkFit judges what an answer about no message left to be seen.
func checkFit(t *testing.T, text string, limit int) {
	t.Helper()
	if !utf8.ValidString(text) || len(text) > limit || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Fatalf("no fit text: %q", text)
	}
	if strings.Contains(text, "://") {
		t.Fatalf("a URL in %q", text)
	}
	if digitRuns.MatchString(text) {
		t.Fatalf("a number in %q", text)
	}
}
