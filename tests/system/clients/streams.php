<?php
// POSTs stdin to URL with PHP's own streams, as an application would.
[, $url, $headers] = $argv;
$lines = [];
foreach (json_decode($headers, true) as $name => $value) {
    $lines[] = "$name: $value";
}
$http = ['method' => 'POST', 'header' => $lines, 'content' => stream_get_contents(STDIN),
         'ignore_errors' => true];
$body = file_get_contents($url, false, stream_context_create(['http' => $http]));
// All status lines of a chain of redirects are there; the last one counts.
$statuses = preg_grep('/^HTTP\//', $http_response_header ?? []);
echo explode(' ', end($statuses) ?: 'none 0')[1], "\n";
echo $body === false ? '' : json_encode(json_decode($body)), "\n";
