package answer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Each code stands in one row, by the class that the contract gives it.
func TestClassOf(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for class, codes := range map[passcode.Class]string{
		passcode.ClassOK:           "OK",
		passcode.ClassTransient:    "isp.SYSTEM_ERROR isp.GATEWAY_ERROR ServiceUnavailable ServiceUnavailable.Busy IS_CLOSE",
		passcode.ClassThrottled:    "Throttling Throttling.User Throttling.Api Throttling.Other",
		passcode.ClassInDoubt:      "InternalError InternalError.Db SignatureNonceUsed",
		passcode.ClassPhoneLimited: "isv.BUSINESS_LIMIT_CONTROL MOBILE_SEND_LIMIT",
		passcode.ClassRecipient: `isv.MOBILE_NUMBER_ILLEGAL isv.BLACK_KEY_CONTROL_LIMIT isv.CUSTOMER_REFUSED MOBILE_IN_BLACK
			MOBILE_NOT_ON_SERVICE MOBILE_ACCOUNT_ABNORMAL INVALID_NUMBER USER_REJECT`,
		passcode.ClassConfig: `isv.SMS_TEMPLATE_ILLEGAL isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGNATURE_SCENE_ILLEGAL isv.SMS_SIGN_ILLEGAL
			isv.SIGN_STATE_ILLEGAL isv.TEMPLATE_MISSING_PARAMETERS isv.TEMPLATE_PARAMS_ILLEGAL template_parameter_count_illegal
			isv.PARAM_LENGTH_LIMIT isv.PARAM_NOT_SUPPORT_URL isv.INVALID_JSON_PARAM isv.INVALID_PARAMETERS isv.SMS_CONTENT_ILLEGAL
			isv.UNSUPPORTED_CONTENT isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE isv.DOMESTIC_NUMBER_NOT_SUPPORTED isv.SMS_TEST_NUMBER_LIMIT
			isv.SMS_TEST_SIGN_TEMPLATE_LIMIT isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL isv.EXTEND_CODE_ERROR isv.MOBILE_COUNT_OVER_LIMIT
			isv.ONE_CODE_MULTIPLE_SIGN isv.CODE_EXCEED_LIMIT isv.CODE_ERROR isv.SMS_SIGN_NAME_ILLEGAL isv.SIGN_NAME_ILLEGAL
			isv.SIGNATURE_BLACKLIST isv.SMS_SIGN_EMOJI_ILLEGAL isv.SIGN_SOURCE_ILLEGAL PARAMS_ILLEGAL PORT_NOT_REGISTERED NO_ROUTE
			CONTENT_KEYWORD IncompleteSignature UnsupportedHTTPMethod UnsupportedParameter UnsupportedOperation NoSuchVersion
			IllegalTimestamp MissingPhoneNumbers MissingParameter InvalidAction.NotFound InvalidParameter InvalidVersion`,
		passcode.ClassAccount: `isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL isv.AMOUNT_NOT_ENOUGH isv.OUT_OF_SERVICE isv.ACCOUNT_NOT_EXISTS
			isv.ACCOUNT_ABNORMAL isv.SECURITY_FROZEN_ACCOUNT isv.PRODUCT_UN_SUBSCRIPT isv.PRODUCT_UNSUBSCRIBE isp.RAM_PERMISSION_DENY
			isv.DENY_IP_RANGE InvalidTimeStamp.Expired InvalidTimeStamp.Format SignatureDoesNotMatch InvalidAccessKeyId.NotFound
			InvalidAccessKeyId Forbidden Forbidden.RAM Forbidden.NotSupportRAM ForbiddenAction NoPermission NoPermission.X
			InvalidSecurityToken.Expired InvalidSecurityToken MissingSecurityToken ActionUnauthorized InsufficientBalance`,
	} {
		for code := range strings.FieldsSeq(codes) {
			got, known := ClassOf(code)
			assert.Equal(t, class, got, code)
			assert.True(t, known, code)
			assert.False(t, seen[code], "%s stands twice", code)
			seen[code] = true
		}
	}
	for code, class := range classes {
		assert.True(t, seen[code] || strings.HasSuffix(code, "*"), "%s has no row", code)
		assert.Contains(t, passcode.Classes(), class, code)
	}
	for _, code := range []string{"isv.UNHEARD_OF", "", "ok", "ServiceUnavailableX", "InternalErrors", "xForbidden"} {
		got, known := ClassOf(code)
		assert.Equal(t, passcode.ClassConfig, got, code)
		assert.False(t, known, code)
	}
	assert.Equal(t, passcode.ClassInDoubt, Envelope{Code: "GatewayTimeout"}.Class(http.StatusGatewayTimeout), "a gateway's that gave up waiting")
}

// Each code is in one list of the table only.
func TestNoCodeHasTwoMeanings(t *testing.T) {
	t.Parallel()
	assert.Panics(t, func() { index(map[string]string{"a": "X Y", "b": "Y"}) })
}
