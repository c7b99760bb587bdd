// Package aliyun sends passcodes through Aliyun SMS (Dysmsapi, version
// 2017-05-25) with the official SDK, and asks it what became of a doubtful send.
// No type of the SDK leaves the package.
//
// Aliyun has no idempotency key, so one question rules everything here: did any
// byte of the request leave this process? The connections of package wire answer it
// exactly. Where nothing left, another attempt is harmless (class transient); where
// something left and no readable answer came back, the message may have been accepted
// (class in_doubt).
//
// Phone and passcode travel in the URL's query. Therefore no error of net/http
// or of the SDK is ever passed on: what goes out are words of ours, and Aliyun's
// own code and message after scrubbing (package answer).
package aliyun
