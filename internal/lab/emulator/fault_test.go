package emulator

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

// codes are those of Aliyun's tables that a client must tell apart, with the
// HTTP status of each.
var codes = map[int][]string{
	200: {
		"isp.SYSTEM_ERROR", "isp.GATEWAY_ERROR", "isp.RAM_PERMISSION_DENY",
		"isv.BUSINESS_LIMIT_CONTROL", "isv.MOBILE_NUMBER_ILLEGAL", "isv.BLACK_KEY_CONTROL_LIMIT", "isv.CUSTOMER_REFUSED",
		"isv.SMS_TEMPLATE_ILLEGAL", "isv.SMS_SIGNATURE_ILLEGAL", "isv.SMS_SIGNATURE_SCENE_ILLEGAL",
		"isv.SMS_SIGN_ILLEGAL", "isv.SIGN_STATE_ILLEGAL", "isv.TEMPLATE_MISSING_PARAMETERS",
		"isv.TEMPLATE_PARAMS_ILLEGAL", "template_parameter_count_illegal", "isv.PARAM_LENGTH_LIMIT",
		"isv.PARAM_NOT_SUPPORT_URL", "isv.INVALID_JSON_PARAM", "isv.INVALID_PARAMETERS", "isv.SMS_CONTENT_ILLEGAL",
		"isv.UNSUPPORTED_CONTENT", "isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE", "isv.DOMESTIC_NUMBER_NOT_SUPPORTED",
		"isv.SMS_TEST_NUMBER_LIMIT", "isv.SMS_TEST_SIGN_TEMPLATE_LIMIT", "isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL",
		"isv.EXTEND_CODE_ERROR", "isv.MOBILE_COUNT_OVER_LIMIT", "isv.DAY_LIMIT_CONTROL", "isv.MONTH_LIMIT_CONTROL",
		"isv.AMOUNT_NOT_ENOUGH", "isv.OUT_OF_SERVICE", "isv.ACCOUNT_NOT_EXISTS", "isv.ACCOUNT_ABNORMAL",
		"isv.SECURITY_FROZEN_ACCOUNT", "isv.PRODUCT_UN_SUBSCRIPT", "isv.PRODUCT_UNSUBSCRIBE", "isv.DENY_IP_RANGE",
	},
	400: {
		"Throttling", "Throttling.User", "Throttling.Api", "SignatureNonceUsed", "SignatureDoesNotMatch",
		"InvalidTimeStamp.Expired", "InvalidTimeStamp.Format", "InvalidAccessKeyId.Inactive",
		"InvalidSecurityToken.Expired", "InvalidSecurityToken.Malformed", "MissingSecurityToken", "MissingPhoneNumbers",
		"InvalidParameter", "a_code_that_nobody_knows",
	},
	403: {"Forbidden", "Forbidden.RAM", "NoPermission"},
	404: {"InvalidAccessKeyId.NotFound", "InvalidAction.NotFound"},
	500: {"InternalError"},
	503: {"ServiceUnavailable"},
}

func TestEveryCodeCanBeProduced(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	for status, list := range codes {
		for _, code := range list {
			require.NoError(t, e.SetFaults("code="+code))
			got := do(t, e, gateway.ActionSendSms, sending())
			assert.Equal(t, code, got.Code)
			assert.Equal(t, status, got.Status, code)
			assert.NotEmpty(t, got.Message, code)
			assert.Equal(t, status != 200, got.HostID != "", code)
			assert.Empty(t, got.BizID, code)
			assert.Equal(t, code, do(t, e, gateway.ActionSendSms, sending()).Code, "without a count it goes on")
		}
	}
	assert.Empty(t, e.Sent())
}

func TestCodeOptions(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"code=isv.BUSINESS_LIMIT_CONTROL,count=1,message=" + dayMessage, "code=Odd,status=418,count=1", "code=OK,count=1"}})
	got := do(t, e, gateway.ActionSendSms, sending())
	assert.Equal(t, dayMessage, got.Message)
	assert.Equal(t, http.StatusTeapot, do(t, e, gateway.ActionSendSms, sending()).Status)
	got = do(t, e, gateway.ActionSendSms, sending())
	assert.Equal(t, "OK", got.Code)
	assert.Empty(t, got.BizID, "OK without a BizId is no success")
	mustSend(t, e)
}

func TestFaultsByCountPhoneAndAction(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"code=isp.SYSTEM_ERROR,count=2,phone=8613812345678",
		"code=Throttling,action=QuerySendDetails,count=1",
		"code=Forbidden,action=QuerySmsSign", "code=NoPermission,action=QuerySmsTemplate",
		"code=InternalError,action=QuerySendDetails,phone=85268326366",
	}})
	send := func(phones string) string {
		return do(t, e, gateway.ActionSendSms, sending("PhoneNumbers", phones)).Code
	}
	assert.Equal(t, "OK", send("13900000000"), "another phone")
	assert.Equal(t, "isp.SYSTEM_ERROR", send("13812345678"))
	assert.Equal(t, "isp.SYSTEM_ERROR", send("13900000000,13812345678"), "one of several")
	assert.Equal(t, "OK", send("13812345678"), "it fired twice")
	look := func(phone string) string {
		return do(t, e, gateway.ActionQuerySendDetails, looking("PhoneNumber", phone)).Code
	}
	assert.Equal(t, "Throttling", look("13812345678"))
	assert.Equal(t, "OK", look("13812345678"))
	assert.Equal(t, "InternalError", look("85268326366"))
	assert.Equal(t, "Forbidden", do(t, e, "QuerySmsSign", map[string]string{"SignName": "x"}).Code)
	assert.Equal(t, "NoPermission", do(t, e, "QuerySmsTemplate", map[string]string{"TemplateCode": "x"}).Code)
}

// TestFaultsLeaveBadRequestsAlone: a wrong signature or parameter is answered
// as ever, and uses up no count.
func TestFaultsLeaveBadRequestsAlone(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"code=InternalError,count=1"}})
	assert.Equal(t, codeNumberIllegal, do(t, e, gateway.ActionSendSms, sending("PhoneNumbers", "1")).Code)
	r := signed(e, gateway.ActionSendSms, sending())
	r.URL.RawQuery = "More=1"
	assert.Equal(t, "SignatureDoesNotMatch", serve(t, e, r).Code)
	assert.Equal(t, "InternalError", do(t, e, gateway.ActionSendSms, sending()).Code)
	mustSend(t, e)
}

func TestFaultsByShare(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"code=InternalError,share=0.25"}})
	for range 1000 {
		do(t, e, gateway.ActionSendSms, sending())
	}
	assert.InDelta(t, 250, e.Stats().Faults, 100) // seven standard deviations
}

func TestUndeliveredAndLagFaults(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{LookupLag: time.Minute, Faults: []string{"undelivered,count=1", "undelivered,err=USER_REJECT,count=1", "lag=1s,count=1",
		"accept_code=InternalError,err=IS_CLOSE,lag=2s,count=1"}})
	for _, out := range []string{"a", "b", "c"} {
		mustSend(t, e, "OutId", out)
	}
	assert.Equal(t, "InternalError", do(t, e, gateway.ActionSendSms, sending("OutId", "d")).Code)
	mustSend(t, e, "OutId", "e")
	rows := func() string {
		text := ""
		for _, row := range do(t, e, gateway.ActionQuerySendDetails, looking()).SmsSendDetailDTOs.SmsSendDetailDTO {
			text += row.OutID + ":" + string(rune('0'+row.SendStatus)) + ":" + row.ErrCode + " "
		}
		return text
	}
	assert.Empty(t, rows())
	c.Move(time.Second)
	assert.Equal(t, "c:3:DELIVERED ", rows())
	c.Move(time.Second)
	assert.Equal(t, "d:2:IS_CLOSE c:3:DELIVERED ", rows())
	c.Move(time.Minute)
	assert.Equal(t, "e:3:DELIVERED d:2:IS_CLOSE c:3:DELIVERED b:2:USER_REJECT a:2:MOBILE_NOT_ON_SERVICE ", rows())
}

func TestWrongFaultsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Faults: []string{"snow"}})
	require.ErrorContains(t, err, "fault: the kind")
}
