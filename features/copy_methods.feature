Feature: Copy methods
  Each copy method backs up what the volume held, and leaves nothing behind.

  @K05
  Scenario Outline: A backup by <method> on <class> holds what the volume held
    Given a volume "app-data" on "<class>" holding 20 files and 1 MiB from seed 7
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
      | copyMethod | <method> |
    When "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And the VolumeSnapshot "volsync-app-src" does not exist
    And the PersistentVolumeClaim "volsync-app-src" does not exist

    Examples:
      | method   | class    |
      | Snapshot | rbd      |
      | Clone    | rbd      |
      | Direct   | rbd      |
      | Snapshot | cephfs   |
      | Direct   | hostpath |
      | Direct   | nfs      |
