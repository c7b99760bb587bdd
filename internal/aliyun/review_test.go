package aliyun

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReviewSign(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]Review{
		`{"Code":"OK","SignStatus":1,"Reason":"无审批备注"}`:                        {Approval: Approved},
		`{"Code":"OK","SignStatus":0}`:                                         {Approval: Pending},
		`{"Code":"OK","SignStatus":2,"Reason":"文件不能证明信息真实性"}`:                  {Approval: Rejected, Note: "文件不能证明信息真实性"},
		`{"Code":"OK","SignStatus":10,"Reason":"call 13812345678"}`:            {Approval: Withdrawn, Note: "call ****"},
		`{"Code":"OK","SignStatus":7,"Reason":"see https://example.com/?a=b"}`: {Approval: OtherApproval, Note: "see [url]"},
	} {
		service := newService(t, body(200, answer))
		got, err := newTestSender(t, testOptions(service.URL)).ReviewSign(t.Context(), "测试签名")
		require.NoError(t, err, answer)
		assert.Equal(t, want, got, answer)
		requests := service.got()
		require.Len(t, requests, 1)
		assert.Equal(t, "QuerySmsSign", requests[0].Header.Get("X-Acs-Action"))
		assert.Equal(t, "测试签名", requests[0].URL.Query().Get("SignName"))
	}
}

func TestReviewTemplate(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]TemplateReview{
		`{"Code":"OK","TemplateStatus":1,"TemplateType":0,"TemplateContent":"验证码为${code}"}`: {
			Review{Approval: Approved}, Verification, []string{"code"},
		},
		`{"Code":"OK","TemplateStatus":2,"TemplateType":1,"Reason":"no","TemplateContent":"${a}, ${code}${a} ${} $b {c}"}`: {
			Review{Rejected, "no"}, Notification, []string{"a", "code"},
		},
		`{"Code":"OK","TemplateStatus":0,"TemplateType":2}`:  {Review{Approval: Pending}, Promotion, nil},
		`{"Code":"OK","TemplateStatus":1,"TemplateType":3}`:  {Review{Approval: Approved}, International, nil},
		`{"Code":"OK","TemplateStatus":-1,"TemplateType":7}`: {Review{Approval: OtherApproval}, OtherKind, nil},
	} {
		service := newService(t, body(200, answer))
		got, err := newTestSender(t, testOptions(service.URL)).ReviewTemplate(t.Context(), "SMS_CN")
		require.NoError(t, err, answer)
		assert.Equal(t, want, got, answer)
		requests := service.got()
		require.Len(t, requests, 1)
		assert.Equal(t, "QuerySmsTemplate", requests[0].Header.Get("X-Acs-Action"))
		assert.Equal(t, "SMS_CN", requests[0].URL.Query().Get("TemplateCode"))
	}
}

// Each row is an answer, and who can mend what it says.
func TestInquiriesThatAreNotAnswered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer http.HandlerFunc
		reason Reason
		code   string
	}{
		{code(400, "SignatureDoesNotMatch", "server string to sign is:POST"), SecretWrong, "SignatureDoesNotMatch"},
		{code(404, "InvalidAccessKeyId.NotFound", "x"), KeyRefused, "InvalidAccessKeyId.NotFound"},
		{code(400, "InvalidAccessKeyId.Inactive", "x"), KeyRefused, "InvalidAccessKeyId.Inactive"},
		{code(400, "InvalidSecurityToken.Expired", "x"), TokenRefused, "InvalidSecurityToken.Expired"},
		{code(400, "MissingSecurityToken", "x"), TokenRefused, "MissingSecurityToken"},
		{code(400, "InvalidTimeStamp.Expired", "x"), ClockOff, "InvalidTimeStamp.Expired"},
		{code(403, "Forbidden.RAM", "x"), NotAllowed, "Forbidden.RAM"},
		{code(403, "NoPermission", "x"), NotAllowed, "NoPermission"},
		{code(200, "isp.RAM_PERMISSION_DENY", "x"), NotAllowed, "isp.RAM_PERMISSION_DENY"},
		{code(200, "isv.AMOUNT_NOT_ENOUGH", "x"), AccountClosed, "isv.AMOUNT_NOT_ENOUGH"},
		{code(400, "Throttling.User", "x"), Busy, "Throttling.User"},
		{code(500, "InternalError", "x"), Busy, "InternalError"},
		{code(503, "ServiceUnavailable", "x"), Busy, "ServiceUnavailable"},
		{code(404, "InvalidAction.NotFound", "x"), NotOffered, "InvalidAction.NotFound"},
		{code(404, "InvalidApi.NotFound", "x"), NotOffered, "InvalidApi.NotFound"},
		{code(400, "InvalidVersion", "x"), NotOffered, "InvalidVersion"},
		{code(200, "isv.SMS_SIGNATURE_ILLEGAL", "x"), NotListed, "isv.SMS_SIGNATURE_ILLEGAL"},
		{code(200, "isv.SMS_TEMPLATE_ILLEGAL", "x"), NotListed, "isv.SMS_TEMPLATE_ILLEGAL"},
		{code(200, "isv.INVALID_PARAMETERS", "x"), Refused, "isv.INVALID_PARAMETERS"},
		{code(200, "isv.13812345678", "x"), Refused, "unreadable"},
		{body(502, "<html>"), Unreadable, "unreadable_answer"},
		{body(200, ""), Unreadable, "unreadable_answer"},
		{body(200, `{"Code":"OK"}`), Unreadable, "unreadable_answer"},
		{body(200, `{"Code":"OK","SignStatus":"approved","TemplateStatus":"1x","TemplateType":{}}`), Unreadable, "unreadable_answer"},
		{body(500, `{"Code":"OK","SignStatus":1,"TemplateStatus":1,"TemplateType":0}`), Unreadable, "unreadable_answer"},
		{dropped, Unreachable, "connection_closed"},
	} {
		service := newService(t, test.answer)
		s := newTestSender(t, testOptions(service.URL))
		_, signErr := s.ReviewSign(t.Context(), "测试签名")
		_, templateErr := s.ReviewTemplate(t.Context(), "SMS_CN")
		for _, err := range []error{signErr, templateErr} {
			var inquiry *InquiryError
			require.ErrorAs(t, err, &inquiry)
			assert.Equal(t, test.reason, inquiry.Reason, test.code)
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

func TestNoCredentialsAreAReasonToo(t *testing.T) {
	t.Parallel()
	options := testOptions("127.0.0.1:1")
	options.Credentials = Credentials{}
	s := newTestSender(t, options)
	s.keys.build = func() (provider, error) { return nil, errors.New("none in /root/.aliyun, none in the environment") }
	_, err := s.ReviewSign(t.Context(), "测试签名")
	var inquiry *InquiryError
	require.ErrorAs(t, err, &inquiry)
	assert.Equal(t, NoCredentials, inquiry.Reason)
	assert.NotContains(t, err.Error(), "/root")
	assert.Equal(t, "x", (&InquiryError{Code: "x"}).Error())
}
