package aliyun

import (
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// classes is what each code of the service means for a message. The codes are
// those of the pages "API error codes" of Aliyun SMS and "Common errors" of its
// API gateway. The HTTP status is not asked: the same code comes with 400, 403
// or 404.
var classes = map[string]passcode.Class{
	"OK": passcode.ClassOK,

	"isp.SYSTEM_ERROR":   passcode.ClassTransient,
	"isp.GATEWAY_ERROR":  passcode.ClassTransient,
	"ServiceUnavailable": passcode.ClassTransient,

	"Throttling":      passcode.ClassThrottled,
	"Throttling.User": passcode.ClassThrottled,
	"Throttling.Api":  passcode.ClassThrottled,

	"InternalError": passcode.ClassInDoubt,
	// We make a new nonce for each request, so a used one means that somebody on
	// the way repeated ours: the first may have been accepted.
	"SignatureNonceUsed": passcode.ClassInDoubt,

	"isv.BUSINESS_LIMIT_CONTROL": passcode.ClassPhoneLimited,

	"isv.MOBILE_NUMBER_ILLEGAL":   passcode.ClassRecipient,
	"isv.BLACK_KEY_CONTROL_LIMIT": passcode.ClassRecipient,
	"isv.CUSTOMER_REFUSED":        passcode.ClassRecipient,

	"isv.SMS_TEMPLATE_ILLEGAL":               passcode.ClassConfig,
	"isv.SMS_SIGNATURE_ILLEGAL":              passcode.ClassConfig,
	"isv.SMS_SIGNATURE_SCENE_ILLEGAL":        passcode.ClassConfig,
	"isv.SMS_SIGN_ILLEGAL":                   passcode.ClassConfig,
	"isv.SIGN_STATE_ILLEGAL":                 passcode.ClassConfig,
	"isv.TEMPLATE_MISSING_PARAMETERS":        passcode.ClassConfig,
	"isv.TEMPLATE_PARAMS_ILLEGAL":            passcode.ClassConfig,
	"template_parameter_count_illegal":       passcode.ClassConfig,
	"isv.PARAM_LENGTH_LIMIT":                 passcode.ClassConfig,
	"isv.PARAM_NOT_SUPPORT_URL":              passcode.ClassConfig,
	"isv.INVALID_JSON_PARAM":                 passcode.ClassConfig,
	"isv.INVALID_PARAMETERS":                 passcode.ClassConfig,
	"isv.SMS_CONTENT_ILLEGAL":                passcode.ClassConfig,
	"isv.UNSUPPORTED_CONTENT":                passcode.ClassConfig,
	"isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE": passcode.ClassConfig,
	"isv.DOMESTIC_NUMBER_NOT_SUPPORTED":      passcode.ClassConfig,
	"isv.SMS_TEST_NUMBER_LIMIT":              passcode.ClassConfig,
	"isv.SMS_TEST_SIGN_TEMPLATE_LIMIT":       passcode.ClassConfig,
	"isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL":   passcode.ClassConfig,
	"isv.EXTEND_CODE_ERROR":                  passcode.ClassConfig,
	"isv.MOBILE_COUNT_OVER_LIMIT":            passcode.ClassConfig,

	"isv.DAY_LIMIT_CONTROL":       passcode.ClassAccount,
	"isv.MONTH_LIMIT_CONTROL":     passcode.ClassAccount,
	"isv.AMOUNT_NOT_ENOUGH":       passcode.ClassAccount,
	"isv.OUT_OF_SERVICE":          passcode.ClassAccount,
	"isv.ACCOUNT_NOT_EXISTS":      passcode.ClassAccount,
	"isv.ACCOUNT_ABNORMAL":        passcode.ClassAccount,
	"isv.SECURITY_FROZEN_ACCOUNT": passcode.ClassAccount,
	"isv.PRODUCT_UN_SUBSCRIPT":    passcode.ClassAccount,
	"isv.PRODUCT_UNSUBSCRIBE":     passcode.ClassAccount,
	"isp.RAM_PERMISSION_DENY":     passcode.ClassAccount,
	"isv.DENY_IP_RANGE":           passcode.ClassAccount,
	"SignatureDoesNotMatch":       passcode.ClassAccount,
	"NoPermission":                passcode.ClassAccount,
	"MissingSecurityToken":        passcode.ClassAccount,
}

// prefixes is for the codes that come with a suffix of their own, such as
// InvalidAccessKeyId.NotFound; the first that fits counts.
var prefixes = []struct {
	prefix string
	class  passcode.Class
}{
	{"Throttling.", passcode.ClassThrottled},
	{"Forbidden", passcode.ClassAccount},
	{"NoPermission.", passcode.ClassAccount},
	{"InvalidTimeStamp", passcode.ClassAccount},
	{"InvalidAccessKeyId", passcode.ClassAccount},
	{invalidToken, passcode.ClassAccount},
	{"Missing", passcode.ClassConfig},
	{"Invalid", passcode.ClassConfig},
}

// invalidToken begins the codes that call for new keys and one more try.
const invalidToken = "InvalidSecurityToken"

// classOf returns the class of a code of the service, and whether it is a known
// one. One that nobody knows is for an operator to look at: class config.
func classOf(code string) (class passcode.Class, known bool) {
	if class, ok := classes[code]; ok {
		return class, true
	}
	for _, p := range prefixes {
		if strings.HasPrefix(code, p.prefix) {
			return p.class, true
		}
	}
	return passcode.ClassConfig, false
}

// windowOf reads from the message of isv.BUSINESS_LIMIT_CONTROL how long the
// phone stays closed, as in "触发小时级流控Permits:5". An unknown text counts as
// a day: to wait too long costs one user a while, to knock on costs a submission.
func windowOf(message string) time.Duration {
	switch {
	case strings.Contains(message, "天"):
		return 24 * time.Hour
	case strings.Contains(message, "小时"):
		return time.Hour
	case strings.Contains(message, "分钟"):
		return time.Minute
	default:
		return 24 * time.Hour
	}
}
