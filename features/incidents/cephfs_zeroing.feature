Feature: CephFS drops what is written
  Read affinity on Ceph 20.2.0 loses pages at write-back: names, sizes and times arrive, the content does not.

  Scenario: A restore that CephFS zeroes is never called restored, and comes back once CephFS is mended
    Given a volume "app-data" on "cephfs" holding 30 files and 1 MiB from seed 21
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
    When "app" synchronises once more
    And the PersistentVolumeClaim "app-data" is lost
    And the fault "cephfs-write-back-zeroing" begins
    And a replication destination "app-dst" from "main" of "app" on tag "restore-once" is created
      | storageClassName | cephfs |
    And a claim "app-data-again" on "cephfs" that "app-dst" fills is created
    And a condition of the ReplicationDestination "app-dst" says "Invalid argument (os error 22)"
    Then the fault "cephfs-write-back-zeroing" has fired
    And "app-dst" calls nothing restored
    And the claim "app-data-again" is not bound
    When the fault "cephfs-write-back-zeroing" ends
    And the operator runs to mount CephFS anew everywhere
      """
      kubectl -n rook-ceph rollout restart daemonset csi-cephfsplugin
      """
    And the claim "app-data-again" is bound
    Then the claim "app-data-again" holds what "app-data" held at the last sync

  Scenario: The same restore onto RBD is good while CephFS drops what is written
    Given a volume "app-data" on "cephfs" holding 30 files and 1 MiB from seed 21
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
    When "app" synchronises once more
    And the fault "cephfs-write-back-zeroing" begins
    And a replication destination "on-cephfs" from "main" of "app" on tag "restore-once" is created
      | storageClassName | cephfs |
    And a condition of the ReplicationDestination "on-cephfs" says "Invalid argument (os error 22)"
    And a replication destination "on-rbd" from "main" of "app" on tag "restore-once" is created
      | storageClassName | rbd |
    And a claim "app-data-again" on "rbd" that "on-rbd" fills is created
    And the claim "app-data-again" is bound
    Then the claim "app-data-again" holds what "app-data" held at the last sync
    And "on-cephfs" calls nothing restored
