package check

// intended are changes that people make with reason: nothing may be said of them.
func intended() []edit {
	hv, st := "high-volume", "strimzi"
	sidecar := "{name: otel, image: 'otel/opentelemetry-collector:0.110.0', args: [--config=/conf/c.yaml], env: [{name: MY_VAR, value: '1'}], " +
		"ports: [{name: otlp, containerPort: 4317}], resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}, " +
		"securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}"
	secrets := "Namespace/flowstitch metadata/annotations = {flowstitch.io/external-secrets: a}"
	second := "apiVersion: kafka.strimzi.io/v1, kind: KafkaTopic, metadata: {name: flowstitch.alerts-ecs.v1}, spec: {topicName: flowstitch.alerts-ecs.v1, partitions: 24, replicas: 3, " +
		"config: {cleanup.policy: delete, max.message.bytes: '1048576', message.timestamp.type: CreateTime, min.insync.replicas: '2', retention.ms: '-1'}}"
	return []edit{
		{"nothing at all", "", "", nil},
		{"nothing at all in strimzi", st, "", nil},
		{"more replicas", "", "", []string{"Deployment/ingest spec/replicas = 6"}},
		{"one replica", "", "", []string{"Deployment/ingest spec/replicas = 1"}},
		{"another registry", "", "", []string{"main/ingest image = 1.dkr.ecr.eu-west-1.amazonaws.com/team/ingest:0.1.0", "main/sessionize image = 1.dkr.ecr.eu-west-1.amazonaws.com/team/sessionize:0.1.0",
			"main/detect image = 1.dkr.ecr.eu-west-1.amazonaws.com/team/detect:0.1.0", "main/topics image = 1.dkr.ecr.eu-west-1.amazonaws.com/team/flowstitch:0.1.0"}},
		{"labels and annotations of others", "", "", []string{"Deployment/ingest metadata/labels/team = sec", "Deployment/ingest metadata/annotations = {argocd.argoproj.io/sync-wave: '1'}",
			"Deployment/ingest spec/template/metadata/labels/team = sec", "Deployment/ingest spec/template/metadata/annotations = {cluster-autoscaler.kubernetes.io/safe-to-evict: 'true'}"}},
		{"sidecar of others", "", "", []string{"pod/ingest containers += " + sidecar + "}"}},
		{"sidecar that starts first", "", "", []string{"pod/ingest initContainers = [" + sidecar + ", restartPolicy: Always}]"}},
		{"traces to a sidecar", "", "", []string{"pod/ingest containers += " + sidecar + "}", "config/ingest telemetry/traces = 0.001"}},
		{"other resources", "", "", []string{"main/detect resources = {requests: {cpu: '1', memory: 6G}, limits: {memory: 6G}}"}},
		{"priority", "", "", []string{"+ {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: sec}, value: 1000}", "pod/ingest priorityClassName = sec"}},
		{"nodes of their own", "", "", []string{"pod/ingest tolerations = [{key: dedicated, operator: Equal, value: sec, effect: NoSchedule}]", "pod/ingest nodeSelector = {eks.amazonaws.com/nodegroup: sec, kubernetes.io/arch: arm64}"}},
		{"capacity of karpenter", "", "", []string{"pod/ingest nodeSelector = {karpenter.sh/capacity-type: on-demand}"}},
		{"leaves a lost node soon", "", "", []string{"pod/ingest tolerations = [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]"}},
		{"longer grace", "", "", []string{"pod/ingest terminationGracePeriodSeconds = 180"}},
		{"temporary files", "", "", []string{"pod/ingest volumes += {name: tmp, emptyDir: {sizeLimit: 100Mi}}", "main/ingest volumeMounts += {name: tmp, mountPath: /tmp}"}},
		{"pull secret", "", "", []string{secrets, "pod/ingest imagePullSecrets = [{name: a}]"}},
		{"keys of AWS from a secret", "local", "", []string{secrets, "main/ingest env += {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: a, key: b}}}"}},
		{"region of AWS", "", "", []string{"main/ingest env += {name: AWS_REGION, value: eu-west-1}"}},
		{"relaxed liveness", "", "", []string{"main/ingest livenessProbe/periodSeconds = 20", "main/ingest livenessProbe/timeoutSeconds = 10"}},
		{"rules mounted", "", "", []string{"+ {apiVersion: v1, kind: ConfigMap, metadata: {name: detect-rules-ctg2bc5t64}, data: {a.yaml: 'rules: []'}}",
			"pod/detect volumes += {name: rules, configMap: {name: detect-rules-ctg2bc5t64}}", "main/detect volumeMounts += {name: rules, mountPath: /etc/rules, readOnly: true}", "config/detect rules = [/etc/rules]"}},
		{"second format of alerts", "", "", []string{"config/detect alerts/also = ecs", "config/topics alerts/also = ecs"}},
		{"second format of alerts in strimzi", st, "", []string{"config/detect alerts/also = ecs", "+ {" + second + "}",
			"KafkaUser/flowstitch-detect spec/authorization/acls += {resource: {type: topic, name: flowstitch.alerts-ecs.v1, patternType: literal}, operations: [Describe, DescribeConfigs, Write]}"}},
		{"prefix of topics", "", "", []string{"config/* pipeline/prefix = staging."}},
		{"more partitions than slots", "", "", []string{"config/* pipeline/partitions = 48"}},
		{"longer retention", st, "", []string{"KafkaTopic/flowstitch.flows.v1 spec/config/retention.ms = '259200000'"}},
		{"five brokers", st, "", []string{"KafkaNodePool/dual spec/replicas = 5"}},
		{"cache of names on the node", "", "", []string{"NetworkPolicy/kafka-and-dns spec/egress/0/to += {ipBlock: {cidr: 169.254.20.10/32}}"}},
		{"endpoints within the VPC", "", "", []string{"NetworkPolicy/sts spec/egress/0/to = [{ipBlock: {cidr: 10.1.0.0/24}}]", "NetworkPolicy/ingest-aws spec/egress/0/to = [{ipBlock: {cidr: 10.1.0.0/24}}]"}},
		{"recorded and asked for", "", "", []string{"PrometheusRule/ spec/groups/0/rules += {record: 'flowstitch:lag:sum', expr: sum by (service) (flowstitch_stage_lag_records)}", "PrometheusRule/ spec/groups/0/rules/0/expr = 'flowstitch:lag:sum > 1e9'"}},
		{"metrics dropped that nobody asks for", "", "", []string{"PodMonitor/flowstitch spec/podMetricsEndpoints/0/metricRelabelings = [{sourceLabels: [__name__], regex: 'go_memstats_.*', action: drop}]"}},
		{"labels for the operator", "", "", []string{"PrometheusRule/ metadata/labels/release = kube-prometheus-stack"}},
		{"scraped more often", "", "", []string{"PodMonitor/flowstitch spec/podMetricsEndpoints/0/interval = 15s"}},
		{"two streams and a role", "", "", []string{"config/ingest kinesis/streams += {name: b, stream: vpc2, region: eu-central-1, role_arn: 'arn:aws:iam::444455556666:role/reader'}"}},
		{"quota with room", "", "", []string{"+ {apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {limits.memory: 64Gi, pods: '50'}}}"}},
		{"lower ceiling", hv, "", []string{"ScaledObject/detect spec/maxReplicaCount = 48"}},
	}
}
