"""Publishers of public data sets: a repository at a commit, and its files with their sizes in bytes and SHA-256."""

from archbench.tasks.builtin_data.pinned_files import Publisher, listed

MULTI30K = Publisher(
    "multi30k/dataset",
    "a3d2e0d26b56f3846f66a952536ffed4e401d05a",
    listed("""
data/task1/raw/train.de.gz            637044 726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6
data/task1/raw/train.en.gz            568929 d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f
data/task1/raw/val.de.gz               24681 f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a
data/task1/raw/val.en.gz               21650 14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28
data/task1/raw/test_2016_flickr.de.gz  22890 9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8
data/task1/raw/test_2016_flickr.en.gz  21077 611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9
"""),
)

SST2 = Publisher(
    "clairett/pytorch-sentiment-classification",
    "457ffd83de90a9d6d472d8ffc31bbffe40a8b236",
    listed("""
data/SST2/train.tsv 720259 ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920
data/SST2/dev.tsv    92057 eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359
data/SST2/test.tsv  188749 831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7
"""),
)

TREC = Publisher(
    "harvardnlp/sent-conv-torch",
    "d61ded09c99c0199d8c5bca946cd65864de2b296",
    listed("""
data/TREC.train.all 292402 c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e
data/TREC.test.all   19479 92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566
"""),
)

TINY_SHAKESPEARE = Publisher(
    "karpathy/char-rnn",
    "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e",
    listed("""
data/tinyshakespeare/input.txt 1115394 86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed
"""),
)

CLINC150 = Publisher(
    "clinc/oos-eval",
    "828f8093932c8fe6ca7936c3d2e52903b1c523de",
    listed("""
data/data_full.json 2495390 36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0
"""),
)

SUBJECTIVITY = Publisher(
    "nltk/nltk_data",
    "5db857e6f7df11eabb5e5665836db9ec8df07e28",
    listed("""
packages/corpora/subjectivity.zip 521628 741f3371e1a4375051b874fd82fd55857b90975473c91c19a3101cbe17fc4d8c
"""),
)

SIGMORPHON_2017 = Publisher(
    "sigmorphon/conll2017",
    "519bb1677a7c747b3863d37069ffd395062288d8",
    listed("""
all/task1/german-train-high          332642 765e7fa395d3fe4267f17c0e644cec3b3c480fc7a5b9f67bc7a13febec60b594
all/task1/german-train-medium         33249 bc13a266c7ffe71ff58aa047c430e9e0062bd5e8ae108bffd604a5586e422e73
all/task1/german-dev                  32910 fdcf14c88f046c2a42933a447c62482c562d76f1fc4f78981ff9b5476fa4ef9a
answers/task1/german-uncovered-test   33243 86ab1032c6e45cdbeb6f786aece5360e0687d338eb065e2d5b3a47d4e6bcbd8f
all/task1/english-train-high         284830 e6c87ce340eaec2df80aa51d6c1ef9571361cdfdf2b21029711d8bc6bee3ce05
all/task1/english-train-medium        28682 d51ac31f44c81363706f791f34fc84557081a65be93347c2844924875ec83179
all/task1/english-dev                 28759 10c860546b862493820625fb851040c9c4b3238a27d8c174e3fd3b6368e78615
answers/task1/english-uncovered-test  28478 0f696e1061e5faf9e8796b0b414a98a61e8165de6d8856cf2ce5b0edb1bb82be
all/task1/finnish-train-high         439205 32a7bbb2e963ffd89a75a1a2d64f2cd348e1a870fda500433b93b397774a7901
all/task1/finnish-train-medium        43939 e6fa59613defc301a19c28eb1a44d920738e513e328c14336979b9d16ca93a84
all/task1/finnish-dev                 43802 dd31327aefec2e8862f19df3bc4a083e51f634a5acc599b6683b612528dc4e19
answers/task1/finnish-uncovered-test  43529 c8e5fbc56eabab0d304ea7e09cf210a6322296e964f2e5db2365b79d932ddbed
all/task1/turkish-train-high         422203 1e6be2ea3368bb403342bb2f6433456c3608e9df44b08266e4ca3e5a57ed9347
all/task1/turkish-train-medium        42515 644f104f693f49f6e9fbef677f8ae347aded1b4e984cbf006c44bcbb9329ea35
all/task1/turkish-dev                 42261 e95f58d34dc49973b26fd9f78d859290917e646ac68536c2b1459711ce4fa42d
answers/task1/turkish-uncovered-test  42781 14ef6ff58423de362e49b22661135bd25b4baa5900d85f8ef9bcff40152e6521
all/task1/spanish-train-high         376734 9957f941019d6fcfc7ecc349233ed109b96db449774d77515a0ec6d0d5e25b93
all/task1/spanish-train-medium        37652 a57b487622071a40f4bcf610ba71d0768e480ac452c1969e70ed76e10f8073b8
all/task1/spanish-dev                 37745 cc753aee03574022f43ac6218ae83cf88420aeb3c5070a6a9fd5529f1f643b77
answers/task1/spanish-uncovered-test  37436 e9879722bfed37bd3dc7e8b7da66f08012ab7ecf6b6615c4a61be5e26f3cc376
all/task1/russian-train-high         532074 b2ed85de1cbbb38628d246c12d608ed3f228dd647da922392404e6999c2c13e4
all/task1/russian-train-medium        53487 ac4eef045b9a9c7d784da10b500c7424422197d73312a01333ae6b130d00c38d
all/task1/russian-dev                 53831 e6842eda6612537689724d0561dc46167c589b3185c4684da370b96685944ecf
answers/task1/russian-uncovered-test  53105 161ecbf4aaa5516fdada4c074d224c8915ea4fd85aa5a9a3924f82bc7ce4a816
"""),
)

SIGMORPHON_2020 = Publisher(
    "sigmorphon/2020",
    "3d9bb3658b6a964ccd127e2a6781665262516bf6",
    listed("""
task1/data/train/fre_train.tsv  79465 fcc1c1c19a19381105662b412e8de1a143802da40fb401dd3cc452bc935128a6
task1/data/dev/fre_dev.tsv       9925 eb2b3fb761b02591a93981c448c6c7972da0499fd0fb1d7a0b60142463f6b355
task1/data/test/fre_test.tsv     9919 cd75ca22c697f93e23d10898a87a86e1bc08d0d4eb318946f28e085cd1aca9a8
task1/data/train/dut_train.tsv 106671 ee825c27cf5cc82a097819bdd6ae50900e449e49504fa3c1d06b318301ef28aa
task1/data/dev/dut_dev.tsv      12938 bb86ff20577e0c9706ce3aa88d2ea5963032212bc92facef251ba435f3eb791f
task1/data/test/dut_test.tsv    12846 f84dde7d2af37aabbb492bf8862be1e69bbe2b95e16728452775fd902cf94197
task1/data/train/hun_train.tsv  97797 e729f49b9b232848ee5bb98afeae2e236f1ec7d0e89d43cf930a9526ad1b9e1e
task1/data/dev/hun_dev.tsv      12575 a77a59974f54d218e8c8cf2d38c5db5ee33fac4767e842d3cc0b9bad42cf7032
task1/data/test/hun_test.tsv    12135 314ebe4289c3aad2161e6bf93a684219541365d59771c98fb6fa81192482c6ce
task1/data/train/gre_train.tsv 122366 acc3450422d1d44e5d596d6b5092919ebf5e0f8a26ddde4ccac7aa9dec1e0996
task1/data/dev/gre_dev.tsv      15616 bac8a18261aa39e125db95423cc33dfaa60683d72eb2b0bb933f2f66b913c7a9
task1/data/test/gre_test.tsv    14904 a10265ed5370a687f2bc840d5ac7338c53b36b044d71e2bcfa0b359094f9fd2f
task1/data/train/lit_train.tsv 140597 0b2a516fd0832654ae8fba3037635a66cc3ad864e61139323bad009a2de4cb14
task1/data/dev/lit_dev.tsv      17453 0dba9ff447458eb6a5e5275d44f33cb98218cb59c5f86984e1c9c86744eb334c
task1/data/test/lit_test.tsv    17234 a3daf8074296edcf6895828234e459e31a3f7cb654dd5354ba272dec74ef6332
task1/data/train/ice_train.tsv  86103 d3729c6306c6b20b873b1b8e94bc1fa3b70dce7f8c2e0179ad3a434c8803f2ef
task1/data/dev/ice_dev.tsv      10926 5054f1051521f83acf137e918445052cc8702937131a7f7dac7b2b7dad6f78e4
task1/data/test/ice_test.tsv    10722 1da20f2fd807b797a6c5b6388e34253d8f874fa359435566632c3a058c80f56c
"""),
)
