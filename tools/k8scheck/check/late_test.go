package check

// lateMutations are kinds of mistake that were thought of after the checks were
// written: what others will break is not what the author had in mind.
func lateMutations() []mutation {
	return append(append(latePods(), lateSet()...), lateKafka()...)
}

func latePods() []mutation {
	return []mutation{
		{"role of another service", "", "kind:~ServiceAccount name:~sessionize", `flowstitch-sessionize`, "flowstitch-ingest", "irsa"},
		{"account of another service", "", ingest, `serviceAccountName: ingest`, "serviceAccountName: detect", "reference"},
		{"no role for iam", "", "kind:~ServiceAccount name:~topics", `  annotations:\n    eks.amazonaws.com/role-arn: .*\n`, "", "irsa"},
		{"dns policy", "", ingest, `enableServiceLinks`, "dnsPolicy: Default\n      enableServiceLinks", "pod"},
		{"tolerates everything", "", ingest, `enableServiceLinks`, "tolerations: [{operator: Exists}]\n      enableServiceLinks", "node"},
		{"scheduler misspelt", "", ingest, `enableServiceLinks`, "schedulerName: defualt-scheduler\n      enableServiceLinks", "pod"},
		{"runtime class", "", ingest, `enableServiceLinks`, "runtimeClassName: gvisor\n      enableServiceLinks", "reference"},
		{"pinned to a node", "", ingest, `enableServiceLinks`, "nodeName: ip-10-0-0-1\n      enableServiceLinks", "node"},
		{"args in one string", "", ingest, `- -config\n        - /etc`, "- -config /etc", "args"},
		{"config by sub path", "", ingest, `(mountPath: /etc/flowstitch\n          name: config\n          readOnly: true)`, "${1}\n          subPath: ingest.yaml", "config"},
		{"config of another service", "", "kind:~Deployment name:~sessionize", `name: sessionize-config-\w+`, "name: detect-config-ctg2bc5t64", "config"},
		{"config item of another path", "", ingest, `(name: ingest-config-\w+)`, "items: [{key: ingest.yaml, path: conf.yaml}]\n          ${1}", "config"},
		{"digest malformed", "", ingest, `ingest:0.1.0`, "ingest@sha256:abc", "image"},
		{"image with a scheme", "", ingest, `image: flowstitch/ingest`, "image: https://registry.example/flowstitch/ingest", "image"},
		{"memory unit", "", ingest, `memory: 512Mi`, "memory: 512MB", "decode"},
		{"memory in bytes of bits", "", ingest, `limits:\n            memory: 512Mi`, "limits:\n            memory: 512Gi", "resources"},
		{"liveness delayed an hour", "", ingest, `(livenessProbe:\n)`, "${1}          initialDelaySeconds: 3600\n", "probe"},
		{"startup for ever", "", ingest, `failureThreshold: 60`, "failureThreshold: 6000", "probe"},
		{"readiness gate", "", ingest, `enableServiceLinks`, "readinessGates: [{conditionType: example.com/ready}]\n      enableServiceLinks", "pod"},
		{"host alias", "", ingest, `enableServiceLinks`, "hostAliases: [{ip: 10.0.0.1, hostnames: [kafka]}]\n      enableServiceLinks", "pod"},
		{"memory volume beyond the limit", "", ingest, `(volumes:\n)`, "${1}      - emptyDir: {medium: Memory, sizeLimit: 1Gi}\n        name: tmp\n", "unused"},
		{"surge of three times", "", ingest, `(rollingUpdate:\n      maxSurge: )1`, "${1}200%", "rollout"},
		{"static member", "", ingest, `- name: FLOWSTITCH_RACK`, "- name: KAFKA_GROUP_INSTANCE_ID\n          value: a\n        - name: FLOWSTITCH_RACK", "env"},
		{"memory env typed", "", ingest, `valueFrom:\n            resourceFieldRef:\n              resource: limits.memory`, "value: \"512Mi\"", "env"},
		{"pod without the name label", "", ingest, `(template:\n    metadata:\n      labels:\n        app.kubernetes.io/component: ingest\n)        app.kubernetes.io/name: flowstitch\n`, "${1}", "api"},
		{"sidecar", "", ingest, `(containers:\n)`, "${1}      - name: shell\n        image: busybox:1\n", "resources"},
		{"init container", "", ingest, `(      containers:\n)`, "      initContainers:\n      - name: wait\n        image: busybox:1\n${1}", "resources"},
		{"ephemeral port", "", ingest, `(containerPort: 9600)`, "hostPort: 9600\n          ${1}", "pod-security"},
	}
}

func lateSet() []mutation {
	pdb := "kind:~PodDisruptionBudget name:~detect"
	cm := "kind:~ConfigMap ingest.yaml"
	return []mutation{
		{"no budget", "", pdb, `(?s).*`, "", "budget"},
		{"budget in percent", "", pdb, `maxUnavailable: 1`, `maxUnavailable: 50%`, "budget"},
		{"no policy for metrics", "", "kind:~NetworkPolicy name:~metrics", `(?s).*`, "", "network"},
		{"no policy for kinesis", "strimzi", "kind:~NetworkPolicy name:~ingest-aws", `(?s).*`, "", "network"},
		{"no policy for sts", "", "kind:~NetworkPolicy name:~sts", `(?s).*`, "", "network"},
		{"no policy that denies", "", "kind:~NetworkPolicy name:~default-deny", `(?s).*`, "", "network"},
		{"no policy for brokers", "", "kind:~NetworkPolicy name:~kafka-and-dns", `(?s).*`, "", "network"},
		{"block with host bits", "", "kind:~NetworkPolicy name:~kafka-and-dns", `10.0.0.0/8`, "10.1.2.3/8", "api"},
		{"block of one host", "", "kind:~NetworkPolicy name:~kafka-and-dns", `10.0.0.0/8`, "10.0.0.0/33", "api"},
		{"policy that allows all", "", "kind:~NetworkPolicy name:~sts", `egress:\n[\s\S]*podSelector`, "egress:\n  - {}\n  podSelector", "network"},
		{"brokers outside of the blocks", "", "kind:~NetworkPolicy name:~kafka-and-dns", `    - ipBlock:\n        cidr: 10.0.0.0/8\n[\s\S]*192.168.0.0/16\n`, "    - podSelector:\n        matchLabels: {app: kafka}\n", "network"},
		{"old pod security version", "", "kind:~Namespace", `enforce-version: latest`, "enforce-version: v1.19", "namespace"},
		{"pod security warns only", "", "kind:~Namespace", `    pod-security.kubernetes.io/enforce: restricted\n`, "", "namespace"},
		{"namespace of kube-system", "", "kind:~Namespace", `\n  name: flowstitch`, "\n  name: kube-system", "namespace"},
		{"config listens nowhere", "", cm, `    telemetry:\n      listen: ":9600"\n`, "", "config"},
		{"config deployment differs", "", cm, `deployment: main`, "deployment: prod", "config"},
		{"config replication differs", "", cm, `replication: 3`, "replication: 1", "config"},
		{"config partitions differ", "", "kind:~ConfigMap topics.yaml", `partitions: 24`, "partitions: 48", "config"},
		{"config broker with a scheme", "", cm, `\[b-1`, "[https://b-1", "config"},
		{"config broker listed twice", "", cm, `\[b-1`, "[b-2.flowstitch.abc123.c2.kafka.eu-west-1.amazonaws.com:9098, b-1", "config"},
		{"config mechanism misspelt", "", cm, `aws-msk-iam`, "aws_msk_iam", "config"},
		{"config region misspelt", "", cm, `region: eu-west-1`, "region: eu-west1", "config"},
		{"config start misspelt", "", cm, `start: latest`, "start: newest", "-check config"},
		{"config duration without unit", "", cm, `deployment: main`, "deployment: main\n      commit_interval: 250", "-check config"},
		{"config buffer beyond the pod", "", cm, `start: latest`, "start: latest\n      memory_bytes: 1073741824", "config"},
		{"config table beyond the pods", "", "kind:~ConfigMap sessionize.yaml", `    telemetry:`, "    sessions:\n      memory: 68719476736\n    telemetry:", "config"},
		{"config stream without a name", "", cm, `name: vpc-flow-logs\n`, "name: \"\"\n", "-check config"},
		{"config without a source", "", cm, `    kinesis:\n[\s\S]*?\nkind`, "\nkind", "config"},
		{"config rules not mounted", "", "kind:~ConfigMap detect.yaml", `    telemetry:`, "    rules: [/etc/flowstitch/rules.yaml]\n    telemetry:", "config"},
		{"config tuning not mounted", "", "kind:~ConfigMap detect.yaml", `    telemetry:`, "    tuning: /etc/flowstitch/tuning.yml\n    telemetry:", "config"},
		{"config in tabs", "", cm, `      deployment: main`, "\tdeployment: main", "config"},
		{"config document twice", "", cm, `    pipeline:`, "    kafka: {}\n    pipeline:", "config"},
		{"job runs as another", "", "kind:~Job", `serviceAccountName: topics`, "serviceAccountName: ingest", "reference"},
		{"job never gives up", "", "kind:~Job", `backoffLimit: \d+`, "backoffLimit: 100000", "job"},
		{"job ends at once", "", "kind:~Job", `activeDeadlineSeconds: \d+`, "activeDeadlineSeconds: 5", "job"},
		{"cluster role", "", pdb, `(?s).*`, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: all, labels: {app.kubernetes.io/part-of: flowstitch}}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: detect, namespace: flowstitch}]", "kind"},
		{"list instead of objects", "", pdb, `(?s).*`, "apiVersion: v1\nkind: List\nitems: []", "yaml"},
		{"quota too small", "", pdb, `(?s).*`, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: flowstitch, labels: {app.kubernetes.io/part-of: flowstitch}}\nspec: {hard: {pods: \"2\"}}", "quota"},
		{"limit range", "", pdb, `(?s).*`, "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l, namespace: flowstitch, labels: {app.kubernetes.io/part-of: flowstitch}}\nspec: {limits: [{type: Container, default: {cpu: 100m}}]}", "quota"},
	}
}

func lateKafka() []mutation {
	hv, st := "high-volume", "strimzi"
	so, kafka := "kind:~ScaledObject name:~sessionize", "kind:~Kafka name:~flowstitch transaction.state"
	flows := "kind:~KafkaTopic flowstitch.flows.v1"
	user := "kind:~KafkaUser name:~flowstitch-detect"
	return []mutation{
		{"two scalers of one target", hv, "kind:~ScaledObject name:~detect", `(scaleTargetRef:\n    name: )detect`, "${1}sessionize", "scaler"},
		{"autoscaler beside keda", hv, "kind:~PodDisruptionBudget name:~sessionize", `(?s).*`, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: sessionize, namespace: flowstitch, labels: {app.kubernetes.io/part-of: flowstitch}}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: sessionize}, maxReplicas: 10, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}", "scaler"},
		{"trigger threshold zero", hv, so, `lagThreshold: "100000"`, `lagThreshold: "0"`, "trigger"},
		{"trigger asked once an hour", hv, so, `pollingInterval: 15`, "pollingInterval: 3600", "scaler"},
		{"trigger version old", hv, so, `      version: 3.6.0\n`, "", "trigger"},
		{"trigger in another region", hv, so, `awsRegion: eu-west-1`, "awsRegion: us-east-1", "trigger"},
		{"scale target of another kind", hv, so, `(scaleTargetRef:\n)`, "${1}    kind: StatefulSet\n", "scaler"},
		{"trigger activation above the threshold", hv, so, `(lagThreshold: "100000")`, "${1}\n      activationLagThreshold: \"900000\"", "trigger"},
		{"trigger limited to partitions", hv, so, `(lagThreshold: "100000")`, "${1}\n      partitionLimitation: 1-3", "trigger"},
		{"trigger excludes lag", hv, so, `(lagThreshold: "100000")`, "${1}\n      excludePersistentLag: \"true\"", "trigger"},
		{"topic twice", st, "kind:~KafkaTopic flowstitch.sessions.v1", `topicName: flowstitch.sessions.v1`, "topicName: flowstitch.flows.v1", "topic"},
		{"topic too small a message", st, flows, `max.message.bytes: "\d+"`, `max.message.bytes: "100000"`, "topic"},
		{"topic unclean", st, flows, `(cleanup.policy: delete)`, "${1}\n    unclean.leader.election.enable: \"true\"", "topic"},
		{"topic one copy", st, flows, `replicas: 3`, "replicas: 1", "topic"},
		{"topic gone", st, flows, `(?s).*`, "", "topic"},
		{"user of any host", st, user, `(type: simple)`, "${1}\n  quotas: {producerByteRate: 1024}", "acl"},
		{"user of everything", st, user, `name: flowstitch.detect.combine\n`, "name: \"*\"\n", "acl"},
		{"user without transactions", st, user, `type: transactionalId`, "type: group", "acl"},
		{"user denied", st, user, `(- host: "\*"\n|acls:\n    - )operations`, "${1}type: deny\n      operations", "acl"},
		{"user gone", st, user, `(?s).*`, "", "reference"},
		{"user name of another", st, user, `name: flowstitch-detect`, "name: flowstitch-detct", "reference"},
		{"listener in the clear", st, kafka, `      tls: true\n`, "      tls: false\n", "strimzi"},
		{"listener without authentication", st, kafka, `    - authentication:\n        type: tls\n      name`, "    - name", "strimzi"},
		{"listener to the outside", st, kafka, `type: internal`, "type: loadbalancer", "strimzi"},
		{"no user operator", st, kafka, `    userOperator: \{\}\n`, "", "strimzi"},
		{"no topic operator", st, kafka, `    topicOperator: \{\}\n`, "", "strimzi"},
		{"offsets of one copy", st, kafka, `offsets.topic.replication.factor: 3`, "offsets.topic.replication.factor: 1", "strimzi"},
		{"cluster gone", st, kafka, `(?s).*`, "", "reference"},
		{"pool forgets", st, "kind:~KafkaNodePool", `type: persistent-claim`, "type: ephemeral", "strimzi"},
		{"pool forgets everything", st, "kind:~KafkaNodePool", `storage:[\s\S]*`, "storage:\n    type: ephemeral", "strimzi"},
		{"pool without a controller", st, "kind:~KafkaNodePool", `  - controller\n`, "", "strimzi"},
		{"superuser", st, kafka, `type: simple\n`, "type: simple\n      superUsers: [CN=flowstitch-detect]\n", "strimzi"},
	}
}
