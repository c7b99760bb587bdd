package aliyun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

// byAction answers each question as its action is answered, and any other as an
// endpoint that doesn't serve it.
func byAction(answers map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if answer := answers[r.Header.Get("X-Acs-Action")]; answer != nil {
			answer(w, r)
			return
		}
		code(404, "InvalidAction.NotFound", "Specified api is not found")(w, r)
	}
}

// senderOf returns a sender whose questions are answered for one action alone, and
// what tells the action, version and one parameter of the last question.
func senderOf(t *testing.T, action, members string) (s *Sender, asked func(parameter string) string) {
	t.Helper()
	service := newService(t, byAction(map[string]http.HandlerFunc{action: body(200, `{"Code":"OK",`+members+`}`)}))
	return newTestSender(t, testOptions(service.URL)), func(parameter string) string {
		requests := service.got()
		last := requests[len(requests)-1]
		return last.Header.Get("X-Acs-Action") + " " + last.Header.Get("X-Acs-Version") + " " + last.URL.Query().Get(parameter)
	}
}

func TestReviews(t *testing.T) {
	t.Parallel()
	signs := map[string]Review{
		`"SignStatus":1,"Reason":"无审批备注"`:                              {Approval: Approved},
		`"SignStatus":0,"SignIspRegisterDetailList":[]`:                {Approval: Pending},
		`"SignStatus":2,"AuditInfo":{"RejectInfo":"文件不能证明信息真实性"}`:      {Approval: Rejected, Note: "文件不能证明信息真实性"},
		`"SignStatus":2,"Reason":"不能证明"`:                               {Approval: Rejected, Note: "不能证明"},
		`"SignStatus":10,"AuditInfo":null,"Reason":"call 13812345678"`: {Approval: Withdrawn, Note: "call ****"},
		`"SignStatus":"7","Reason":"see https://example.com/?a=b"`:     {Approval: 7, Note: "see [url]"},
		`"SignStatus":1,"SignIspRegisterDetailList":[
			{"OperatorCode":"mobile","RegisterStatus":3},
			{"OperatorCode":"unicom","RegisterStatus":"1","RegisterStatusReasons":[]},
			{"OperatorCode":"telecom","RegisterStatus":-1},
			{"OperatorCode":"a","RegisterStatus":0,"RegisterStatusReasons":[{"ReasonCode":"REGISTER_TIMEOUT"},{"ReasonCode":"13812345678"}]},
			{"OperatorCode":"b","RegisterStatus":2,"RegisterStatusReasons":[{"ReasonCode":"NO_SEND_RECORD","ReasonDescList":["x"]}]},
			{"OperatorCode":"c","RegisterStatus":-2},
			{"OperatorCode":"d","RegisterStatus":9},
			{"OperatorCode":"https://x/?y"}]`: {Approval: Approved, Filings: []Filing{
			{"mobile", Filed, nil}, {"unicom", Unproven, nil}, {"telecom", FilingPending, nil},
			{"a", FilingRefused, []string{"REGISTER_TIMEOUT", "unreadable"}}, {"b", Lapsed, []string{"NO_SEND_RECORD"}},
			{"c", NotFiled, nil}, {"d", 9, nil}, {"unreadable", OtherFiling, nil},
		}},
	}
	templates := map[string]Review{
		`"TemplateStatus":1,"TemplateType":0,"TemplateContent":"验证码为${code}"`: {
			Approval: Approved, Kind: Verification, Variables: []string{"code"},
		},
		`"TemplateStatus":2,"TemplateType":1,"Reason":"no","TemplateContent":"${a}, ${code}${a} ${} $b {c}"`: {
			Approval: Rejected, Note: "no", Kind: Notification, Variables: []string{"a", "code"},
		},
		`"TemplateStatus":"2","TemplateType":"1","AuditInfo":{"RejectInfo":"no"}`: {Approval: Rejected, Note: "no", Kind: Notification},
		`"TemplateStatus":0,"TemplateType":2`:                                     {Approval: Pending, Kind: Promotion},
		`"TemplateStatus":1,"TemplateType":"3"`:                                   {Approval: Approved, Kind: International},
		`"TemplateStatus":-1,"TemplateType":7`:                                    {Approval: -1, Kind: 7},
	}
	for _, test := range []struct {
		action, parameter string
		review            func(*Sender, context.Context, string) (Review, error)
		answers           map[string]Review
	}{
		{"GetSmsSign", "SignName", (*Sender).ReviewSign, signs},
		{"QuerySmsSign", "SignName", (*Sender).ReviewSign, signs},
		{"GetSmsTemplate", "TemplateCode", (*Sender).ReviewTemplate, templates},
		{"QuerySmsTemplate", "TemplateCode", (*Sender).ReviewTemplate, templates},
	} {
		for answer, want := range test.answers {
			s, asked := senderOf(t, test.action, answer)
			got, err := test.review(s, t.Context(), "测试")
			require.NoError(t, err, answer)
			assert.Equal(t, want, got, answer)
			assert.Equal(t, test.action+" 2017-05-25 测试", asked(test.parameter))
		}
	}
}

// Each row is how the present form of a question is answered and how the older one,
// and which of the two answers counts.
func TestTheOlderQuestionStandsInForThePresentOne(t *testing.T) {
	t.Parallel()
	approved := body(200, `{"Code":"OK","SignStatus":1}`)
	refusal := func(name string) http.HandlerFunc { return code(403, name, "x") }
	for _, test := range []struct {
		name           string
		present, older http.HandlerFunc
		calls          int
		want           string // action and code of the failure
	}{
		{"answered", approved, nil, 1, ""},
		{"not offered", nil, approved, 2, ""},
		{"not allowed", refusal("Forbidden.RAM"), approved, 2, ""},
		{"an answer of another shape", body(200, `{"Code":"OK","Data":{}}`), approved, 2, ""},
		{"neither is offered", nil, nil, 2, "GetSmsSign InvalidAction.NotFound"},
		{"neither is allowed", refusal("Forbidden.RAM"), refusal("NoPermission"), 2, "GetSmsSign Forbidden.RAM"},
		{"one is not allowed, the other not offered", refusal("Forbidden.RAM"), nil, 2, "GetSmsSign Forbidden.RAM"},
		{"one is not offered, the other not allowed", nil, refusal("Forbidden.RAM"), 2, "QuerySmsSign Forbidden.RAM"},
		{"not offered, and not listed", nil, refusal("isv.SMS_SIGNATURE_ILLEGAL"), 2, "QuerySmsSign isv.SMS_SIGNATURE_ILLEGAL"},
		{"not listed", refusal("isv.SMS_SIGNATURE_ILLEGAL"), approved, 1, "GetSmsSign isv.SMS_SIGNATURE_ILLEGAL"},
		{"a wrong secret", refusal("SignatureDoesNotMatch"), approved, 1, "GetSmsSign SignatureDoesNotMatch"},
		{"busy", refusal("Throttling"), approved, 1, "GetSmsSign Throttling"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			service := newService(t, byAction(map[string]http.HandlerFunc{"GetSmsSign": test.present, "QuerySmsSign": test.older}))
			got, err := newTestSender(t, testOptions(service.URL)).ReviewSign(t.Context(), "测试签名")
			assert.Len(t, service.got(), test.calls)
			if test.want == "" {
				require.NoError(t, err)
				assert.Equal(t, Approved, got.Approval)
				return
			}
			var failure *answer.Failure
			require.ErrorAs(t, err, &failure)
			assert.Equal(t, test.want, failure.Action+" "+failure.Code)
		})
	}
}

// Each row is an answer, and who can fix what it says.
func TestInquiriesThatAreNotAnswered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer http.HandlerFunc
		reason answer.Reason
		code   string
	}{
		{code(400, "SignatureDoesNotMatch", "server string to sign is:POST"), answer.SecretWrong, "SignatureDoesNotMatch"},
		{code(404, "InvalidAccessKeyId.NotFound", "x"), answer.KeyRefused, "InvalidAccessKeyId.NotFound"},
		{code(400, "InvalidAccessKeyId.Inactive", "x"), answer.KeyRefused, "InvalidAccessKeyId.Inactive"},
		{code(400, "InvalidSecurityToken.Expired", "x"), answer.RefusedToken, "InvalidSecurityToken.Expired"},
		{code(400, "MissingSecurityToken", "x"), answer.RefusedToken, "MissingSecurityToken"},
		{code(400, "InvalidTimeStamp.Expired", "x"), answer.ClockOff, "InvalidTimeStamp.Expired"},
		{code(403, "Forbidden.RAM", "x"), answer.NotAllowed, "Forbidden.RAM"},
		{code(403, "NoPermission", "x"), answer.NotAllowed, "NoPermission"},
		{code(200, "isp.RAM_PERMISSION_DENY", "x"), answer.NotAllowed, "isp.RAM_PERMISSION_DENY"},
		{code(200, "isv.AMOUNT_NOT_ENOUGH", "x"), answer.AccountClosed, "isv.AMOUNT_NOT_ENOUGH"},
		{code(400, "Throttling.User", "x"), answer.Busy, "Throttling.User"},
		{code(500, "InternalError", "x"), answer.Busy, "InternalError"},
		{code(503, "ServiceUnavailable", "x"), answer.Busy, "ServiceUnavailable"},
		{code(404, "InvalidAction.NotFound", "x"), answer.NotOffered, "InvalidAction.NotFound"},
		{code(404, "InvalidApi.NotFound", "x"), answer.NotOffered, "InvalidApi.NotFound"},
		{code(400, "InvalidVersion", "x"), answer.NotOffered, "InvalidVersion"},
		{code(200, "isv.SMS_SIGNATURE_ILLEGAL", "x"), answer.NotListed, "isv.SMS_SIGNATURE_ILLEGAL"},
		{code(200, "isv.SMS_TEMPLATE_ILLEGAL", "x"), answer.NotListed, "isv.SMS_TEMPLATE_ILLEGAL"},
		{code(200, "isv.INVALID_PARAMETERS", "x"), answer.Refused, "isv.INVALID_PARAMETERS"},
		{code(200, "isv.13812345678", "x"), answer.Refused, "unreadable"},
		{body(502, "<html>"), answer.Unreadable, "unreadable_answer"},
		{body(200, ""), answer.Unreadable, "unreadable_answer"},
		{body(200, `{"Code":"OK"}`), answer.Unreadable, "unreadable_answer"},
		{body(200, `{"Code":"OK","SignStatus":"approved","TemplateStatus":"1x","TemplateType":{}}`), answer.Unreadable, "unreadable_answer"},
		{body(500, `{"Code":"OK","SignStatus":1,"TemplateStatus":1,"TemplateType":0}`), answer.Unreadable, "unreadable_answer"},
		{dropped, answer.Unreachable, "connection_closed"},
	} {
		service := newService(t, test.answer)
		s := newTestSender(t, testOptions(service.URL))
		_, signErr := s.ReviewSign(t.Context(), "测试签名")
		_, templateErr := s.ReviewTemplate(t.Context(), "SMS_CN")
		for _, err := range []error{signErr, templateErr} {
			var inquiry *answer.Failure
			require.ErrorAs(t, err, &inquiry)
			assert.Equal(t, test.reason, inquiry.Reason(), test.code)
			assert.Equal(t, test.code, inquiry.Code)
			assert.NotEmpty(t, inquiry.Message, test.code)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)), "POST")
			assertNoSecret(t, err.Error())
		}
	}
}

// dropped takes the request and closes the connection without an answer.
func dropped(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestKnockReadsTheClockOfAnyAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		date   string
		status int
		ahead  time.Duration
		dated  bool
	}{
		{"on time", "Sun, 22 Nov 2026 12:00:02 GMT", 200, time.Second / 2, true},
		{"ahead", "Sun, 22 Nov 2026 12:20:02 GMT", 404, 20*time.Minute + time.Second/2, true},
		{"behind", "Sun, 22 Nov 2026 11:00:02 GMT", 503, -time.Hour + time.Second/2, true},
		{"a redirect", "Sun, 22 Nov 2026 12:00:02 GMT", 302, time.Second / 2, true},
		{"an older form", "Sunday, 22-Nov-26 12:00:32 GMT", 400, 30*time.Second + time.Second/2, true},
		{"no date", "", 400, 0, false},
		{"nonsense", "yesterday", 400, 0, false},
	} {
		clock := newTestClock()
		service := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			clock.Move(4 * time.Second) // the answer counts as written halfway
			w.Header()["Date"] = nil    // the server would add its own
			if test.date != "" {
				w.Header().Set("Date", test.date)
			}
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(test.status)
		})
		options := testOptions(service.URL)
		options.Now = clock.Now
		got, err := newTestSender(t, options).Knock(t.Context())
		require.NoError(t, err, test.name)
		assert.Equal(t, Presence{Ahead: test.ahead, Dated: test.dated}, got, test.name)
		requests := service.got()
		require.Len(t, requests, 1, test.name)
		assert.Equal(t, "GET /", requests[0].Method+" "+requests[0].RequestURI)
		assert.Empty(t, requests[0].Header.Get("Authorization"))
	}
}

func TestKnockThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(ok))
	t.Cleanup(secure.Close)
	for _, test := range []struct{ endpoint, code string }{
		{"http://127.0.0.1:1", "connection_refused"},
		{secure.URL, "tls"},
		{"http://nobody.invalid", "dns"},
		{newService(t, dropped).URL, "connection_closed"},
	} {
		_, err := newTestSender(t, testOptions(test.endpoint)).Knock(t.Context())
		var inquiry *answer.Failure
		require.ErrorAs(t, err, &inquiry)
		assert.Equal(t, answer.Unreachable, inquiry.Reason())
		assert.Equal(t, test.code, inquiry.Code)
		assert.NotEmpty(t, inquiry.Message)
		assert.NotContains(t, err.Error(), "://")
	}
}
