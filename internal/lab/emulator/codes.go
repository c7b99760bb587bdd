package emulator

import (
	"net/http"
	"strings"
)

// Codes that the emulator itself answers. The names, messages and HTTP statuses
// are those seen in the service's answers and its page of error codes.
const (
	codeOK               = "OK"
	codeLimited          = "isv.BUSINESS_LIMIT_CONTROL"
	codeNumberIllegal    = "isv.MOBILE_NUMBER_ILLEGAL"
	codeTooManyNumbers   = "isv.MOBILE_COUNT_OVER_LIMIT"
	codeSignUnknown      = "isv.SMS_SIGNATURE_ILLEGAL"
	codeTemplateUnknown  = "isv.SMS_TEMPLATE_ILLEGAL"
	codeParamNotJSON     = "isv.INVALID_JSON_PARAM"
	codeParamMissing     = "isv.TEMPLATE_MISSING_PARAMETERS"
	codeParamIllegal     = "isv.TEMPLATE_PARAMS_ILLEGAL"
	codeInvalid          = "isv.INVALID_PARAMETERS"
	codeOnlyAbroad       = "isv.DOMESTIC_NUMBER_NOT_SUPPORTED"
	codeThrottled        = "Throttling.User"
	codeUnavailable      = "ServiceUnavailable"
	codeActionUnknown    = "InvalidAction.NotFound"
	codeVersionInvalid   = "InvalidVersion"
	codeMethodUnknown    = "UnsupportedHTTPMethod"
	codeParameterInvalid = "InvalidParameter"
	codeKeyUnknown       = "InvalidAccessKeyId.NotFound"
	codeTimeFormat       = "InvalidTimeStamp.Format"
	codeTimeExpired      = "InvalidTimeStamp.Expired"
	codeNonceUsed        = "SignatureNonceUsed"
	codeSignatureWrong   = "SignatureDoesNotMatch"
	codeSignatureBroken  = "IncompleteSignature"
)

var messages = map[string]string{
	codeOK:                                   "OK",
	codeLimited:                              "触发分钟级流控Permits:1",
	codeNumberIllegal:                        "非法手机号",
	codeTooManyNumbers:                       "手机号码数量超过限制",
	codeSignUnknown:                          "短信签名不合法",
	codeTemplateUnknown:                      "模板不合法(不存在或被拉黑)",
	codeParamNotJSON:                         "JSON参数不合法,只接受字符串值",
	codeParamMissing:                         "模板缺少变量",
	codeParamIllegal:                         "Params must be [a-zA-Z0-9] for verification sms",
	codeInvalid:                              "参数异常",
	codeUnavailable:                          "The request has failed due to a temporary failure of the server.",
	codeActionUnknown:                        "Specified api is not found, please check your url and method.",
	codeVersionInvalid:                       "Specified parameter Version is not valid.",
	codeMethodUnknown:                        "This http method is not supported.",
	codeParameterInvalid:                     "A parameter is not well formed, or given more than once.",
	codeKeyUnknown:                           "Specified access key is not found.",
	codeTimeFormat:                           "Specified time stamp or date value is not well formatted.",
	codeTimeExpired:                          "Specified time stamp or date value is expired.",
	codeNonceUsed:                            "Specified signature nonce was used already.",
	codeSignatureWrong:                       "Specified signature is not matched with our calculation.",
	codeSignatureBroken:                      "The request signature does not conform to Aliyun standards.",
	"Throttling":                             "Request was denied due to request throttling.",
	codeThrottled:                            "Request was denied due to user flow control.",
	"Throttling.Api":                         "Request was denied due to api flow control.",
	"InternalError":                          "The request processing has failed due to some unknown error, exception or failure.",
	"InvalidAccessKeyId.Inactive":            "Specified access key is disabled.",
	"InvalidSecurityToken.Expired":           "Specified SecurityToken is expired.",
	"InvalidSecurityToken.Malformed":         "Specified SecurityToken is malformed.",
	"MissingSecurityToken":                   "SecurityToken is mandatory for this action.",
	"Forbidden.RAM":                          "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
	"NoPermission":                           "You are not authorized to do this action.",
	"isp.SYSTEM_ERROR":                       "系统错误",
	"isp.GATEWAY_ERROR":                      "网关异常",
	"isp.RAM_PERMISSION_DENY":                "RAM权限DENY",
	"isv.AMOUNT_NOT_ENOUGH":                  "账户余额不足",
	"isv.OUT_OF_SERVICE":                     "业务停机",
	"isv.ACCOUNT_NOT_EXISTS":                 "账户不存在",
	"isv.ACCOUNT_ABNORMAL":                   "账户异常",
	"isv.SECURITY_FROZEN_ACCOUNT":            "因该账号长时间未使用,出于对您的账号安全考虑,已限制您账号的短信发送",
	"isv.PRODUCT_UN_SUBSCRIPT":               "未开通云通信产品的阿里云客户",
	"isv.PRODUCT_UNSUBSCRIBE":                "产品未开通",
	"isv.DAY_LIMIT_CONTROL":                  "触发日发送限额",
	"isv.MONTH_LIMIT_CONTROL":                "触发月发送限额",
	"isv.DENY_IP_RANGE":                      "源IP地址所在的地区被禁用",
	"isv.BLACK_KEY_CONTROL_LIMIT":            "黑名单管控",
	"isv.CUSTOMER_REFUSED":                   "用户已退订推广短信",
	"isv.PARAM_LENGTH_LIMIT":                 "参数超出长度限制",
	"isv.PARAM_NOT_SUPPORT_URL":              "变量不支持传入URL",
	"isv.SMS_SIGNATURE_SCENE_ILLEGAL":        "短信所使用签名场景非法",
	"isv.SMS_SIGN_ILLEGAL":                   "签名禁止使用",
	"isv.SIGN_STATE_ILLEGAL":                 "签名状态不正确",
	"isv.SMS_CONTENT_ILLEGAL":                "短信内容包含禁止发送内容",
	"isv.UNSUPPORTED_CONTENT":                "字符不支持",
	"isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE": "短信内容和模板属性不匹配",
	codeOnlyAbroad:                           "国际/港澳台消息模板不支持发送境内号码",
	"isv.SMS_TEST_NUMBER_LIMIT":              "只能向已回复授权信息的手机号发送",
	"isv.SMS_TEST_SIGN_TEMPLATE_LIMIT":       "测试模板和签名限制",
	"isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL":   "仅支持4至6位纯数字",
	"isv.EXTEND_CODE_ERROR":                  "扩展码使用错误,相同的扩展码不可用于多个签名",
	"template_parameter_count_illegal":       "验证码模板参数过多",
}

// messageOf is the message that Aliyun sends with a code, or for a code it is
// not known for, the code's own name.
func messageOf(code string) string {
	if message, ok := messages[code]; ok {
		return message
	}
	if name, ok := strings.CutPrefix(code, "Missing"); ok && name != "" {
		return name + " is mandatory for this action."
	}
	return code
}

// statusOf is the HTTP status that Aliyun sends with a code: the service itself
// answers 200 whatever it says, the gateway before it uses the status.
func statusOf(code string) int {
	switch code {
	case codeOK, "template_parameter_count_illegal":
		return http.StatusOK
	case "InternalError":
		return http.StatusInternalServerError
	case codeUnavailable:
		return http.StatusServiceUnavailable
	case "NoPermission", codeMethodUnknown:
		return http.StatusForbidden
	}
	switch {
	case strings.HasPrefix(code, "isv."), strings.HasPrefix(code, "isp."):
		return http.StatusOK
	case strings.HasPrefix(code, "Forbidden"):
		return http.StatusForbidden
	case strings.HasSuffix(code, ".NotFound"):
		return http.StatusNotFound
	default:
		return http.StatusBadRequest
	}
}

// refusal is an answer other than OK.
type refusal struct {
	status  int
	code    string
	message string
}

// refuse returns the refusal with a code's usual status and message.
func refuse(code string) *refusal {
	return &refusal{status: statusOf(code), code: code, message: messageOf(code)}
}

// missing refuses a request that lacks a parameter.
func missing(name string) *refusal { return refuse("Missing" + name) }
