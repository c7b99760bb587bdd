package show

import (
	"regexp"
	"strings"
)

// limitText is what Aliyun says where one of its own limits refuses a message.
var limitText = regexp.MustCompile(`^触发(号码)?(分钟|小时|天|日|月)(?:级流控|发送限额)(?:Permits:(\d+))?$`)

// windows are the words for the windows of Aliyun's limits.
var windows = map[string]string{"分钟": "a minute", "小时": "an hour", "天": "a day", "日": "a day", "月": "a month"}

// glosses are what other messages of Aliyun's begin with, and what that means.
var glosses = []struct{ begin, english string }{
	{"模板不合法", "the template is not valid"},
	{"模板缺少变量", "a variable of the template is missing"},
	{"签名不合法", "the signature is not valid"},
	{"账户不存在", "there is no such account"},
	{"账户异常", "something is wrong with the account"},
	{"账户余额不足", "the account's balance is too low"},
	{"业务停机", "the service is stopped for this account"},
	{"没有访问权限", "access is not allowed"},
	{"手机号码格式错误", "the number's format is wrong"},
	{"非法手机号", "no valid number"},
	{"黑名单管控", "the number is on a blocklist"},
	{"参数超出长度限制", "a parameter is too long"},
}

// Glossed adds a few English words to a well-known message of Aliyun's.
func Glossed(message string) string {
	english := ""
	if m := limitText.FindStringSubmatch(message); m != nil {
		english = strings.Join(strings.Fields("Aliyun's limit: "+m[3]+" "+windows[m[2]]), " ")
		if m[1] != "" {
			english += ", over all signatures"
		}
	}
	for _, g := range glosses {
		if strings.HasPrefix(message, g.begin) {
			english = g.english
		}
	}
	if english == "" {
		return message
	}
	return message + " [" + english + "]"
}
