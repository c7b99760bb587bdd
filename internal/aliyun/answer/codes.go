// Package answer says what Aliyun's answers mean: which can be believed, the class of
// each code, and which texts may be shown.
package answer

import (
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// classes is what each code means for a message, by the pages "API error codes" of Aliyun
// SMS and "Common errors" of its API gateway. A * stands for any rest. The HTTP status
// doesn't count: it varies. Codes of delivery reports are listed in case one comes at once.
var classes = index(map[passcode.Class]string{
	passcode.ClassOK: `OK`,

	passcode.ClassTransient: `isp.SYSTEM_ERROR isp.GATEWAY_ERROR ServiceUnavailable ServiceUnavailable.* IS_CLOSE`,

	passcode.ClassThrottled: `Throttling Throttling.User Throttling.Api Throttling.*`,

	// Each request has a new nonce, so if one was used, something on the way repeated our
	// request: the first may have been accepted.
	passcode.ClassInDoubt: `InternalError InternalError.* SignatureNonceUsed`,

	passcode.ClassPhoneLimited: `isv.BUSINESS_LIMIT_CONTROL MOBILE_SEND_LIMIT`,

	passcode.ClassRecipient: `isv.MOBILE_NUMBER_ILLEGAL isv.BLACK_KEY_CONTROL_LIMIT isv.CUSTOMER_REFUSED
		MOBILE_IN_BLACK MOBILE_NOT_ON_SERVICE MOBILE_ACCOUNT_ABNORMAL INVALID_NUMBER USER_REJECT`,

	passcode.ClassConfig: `isv.SMS_TEMPLATE_ILLEGAL isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGNATURE_SCENE_ILLEGAL
		isv.SMS_SIGN_ILLEGAL isv.SMS_SIGN_NAME_ILLEGAL isv.SMS_SIGN_EMOJI_ILLEGAL isv.SIGN_NAME_ILLEGAL
		isv.SIGN_SOURCE_ILLEGAL isv.SIGN_STATE_ILLEGAL isv.SIGNATURE_BLACKLIST isv.ONE_CODE_MULTIPLE_SIGN
		isv.TEMPLATE_MISSING_PARAMETERS isv.TEMPLATE_PARAMS_ILLEGAL template_parameter_count_illegal
		isv.PARAM_LENGTH_LIMIT isv.PARAM_NOT_SUPPORT_URL isv.INVALID_JSON_PARAM isv.INVALID_PARAMETERS PARAMS_ILLEGAL
		isv.SMS_CONTENT_ILLEGAL isv.UNSUPPORTED_CONTENT isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE CONTENT_KEYWORD
		isv.DOMESTIC_NUMBER_NOT_SUPPORTED isv.MOBILE_COUNT_OVER_LIMIT
		isv.SMS_TEST_NUMBER_LIMIT isv.SMS_TEST_SIGN_TEMPLATE_LIMIT isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL
		isv.EXTEND_CODE_ERROR isv.CODE_EXCEED_LIMIT isv.CODE_ERROR PORT_NOT_REGISTERED NO_ROUTE
		IncompleteSignature UnsupportedHTTPMethod UnsupportedParameter UnsupportedOperation NoSuchVersion
		IllegalTimestamp Missing* Invalid*`,

	passcode.ClassAccount: `isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL isv.AMOUNT_NOT_ENOUGH InsufficientBalance
		isv.OUT_OF_SERVICE isv.ACCOUNT_NOT_EXISTS isv.ACCOUNT_ABNORMAL isv.SECURITY_FROZEN_ACCOUNT
		isv.PRODUCT_UN_SUBSCRIPT isv.PRODUCT_UNSUBSCRIBE isp.RAM_PERMISSION_DENY isv.DENY_IP_RANGE
		ActionUnauthorized Forbidden* NoPermission NoPermission.* SignatureDoesNotMatch InvalidTimeStamp*
		InvalidAccessKeyId* InvalidSecurityToken* MissingSecurityToken`,
})

// TokenRefused reports whether a code calls for newer keys and one more try.
func TokenRefused(code string) bool { return strings.HasPrefix(code, "InvalidSecurityToken") }

// ClassOf returns the class of a code, and whether it is known. An unknown code is for an
// operator to look at: class config.
func ClassOf(code string) (class passcode.Class, known bool) {
	if class, known = meaning(classes, code); known {
		return class, true
	}
	return passcode.ClassConfig, false
}

// index maps each listed code to its meaning. It panics if a code has two.
func index[M comparable](lists map[M]string) map[string]M {
	all := map[string]M{}
	for meaning, codes := range lists {
		for code := range strings.FieldsSeq(codes) {
			if _, twice := all[code]; twice {
				panic(code + " has two meanings")
			}
			all[code] = meaning
		}
	}
	return all
}

// meaning looks a code up: the whole, or else the longest beginning listed with a *.
func meaning[M comparable](index map[string]M, code string) (m M, known bool) {
	m, known = index[code]
	for end := len(code); !known && end > 0; end-- {
		m, known = index[code[:end]+"*"]
	}
	return m, known
}

// WindowOf reads from the message of isv.BUSINESS_LIMIT_CONTROL how long the phone stays closed: "触发小时级流控Permits:5"
// is an hour. An unknown text counts as a day, since each further attempt counts as a submission.
func WindowOf(message string) time.Duration {
	switch {
	case strings.Contains(message, "天"): // which outweighs the others
		return 24 * time.Hour
	case strings.Contains(message, "小时"):
		return time.Hour
	case strings.Contains(message, "分钟"):
		return time.Minute
	default:
		return 24 * time.Hour
	}
}
