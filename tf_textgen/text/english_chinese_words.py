"""The words of the English-Chinese grammar, with their forms, renderings and measure words."""

# A line is `English = rendering rendering ...`; a rendering is rarer than the one before it, a word
# rarer than the one above it. Forms of one word are separated by slashes.

MEN = "Tom = 汤姆; Jack = 杰克; John = 约翰; Peter = 彼得; David = 大卫; Li Ming = 李明; Wang Wei = 王伟"
WOMEN = "Mary = 玛丽; Anna = 安娜; Lucy = 露西; Emma = 爱玛 艾玛; Helen = 海伦; Wang Fang = 王芳; Li Na = 李娜"
OWNERS = "my = 我的; your = 你的 您的; his = 他的; her = 她的; our = 我们的; their = 他们的"
OBJECT_PRONOUNS = "him = 他; her = 她; me = 我; us = 我们; them = 他们; you = 你 您"

# singular/plural = noun, and its measure words.
PEOPLE = {
    "位 个": "teacher/teachers = 老师 教师; friend/friends = 朋友; guest/guests = 客人; neighbor/neighbors = "
    "邻居",
    "个 名": "student/students = 学生; child/children = 孩子 小孩; boy/boys = 男孩; girl/girls = 女孩",
    "名 位": "doctor/doctors = 医生 大夫; engineer/engineers = 工程师; nurse/nurses = 护士; "
    "artist/artists = 画家 艺术家",
}
WRITINGS = {
    "封": "letter/letters = 信; email/emails = 邮件 电子邮件",
    "本": "book/books = 书; novel/novels = 小说; diary/diaries = 日记",
    "篇": "article/articles = 文章; essay/essays = 作文 短文",
    "个": "story/stories = 故事",
    "份": "report/reports = 报告; newspaper/newspapers = 报纸",
}
FOODS = {
    "个": "apple/apples = 苹果; orange/oranges = 橙子 橘子; egg/eggs = 鸡蛋; pear/pears = 梨; "
    "sandwich/sandwiches = 三明治",
    "块": "cake/cakes = 蛋糕; cookie/cookies = 饼干",
    "根": "banana/bananas = 香蕉; carrot/carrots = 胡萝卜",
    "碗": "soup/soups = 汤",
}
THINGS = {
    "辆": "car/cars = 汽车 轿车; bicycle/bicycles = 自行车 单车",
    "张": "table/tables = 桌子; map/maps = 地图; ticket/tickets = 票; bed/beds = 床",
    "把": "chair/chairs = 椅子; umbrella/umbrellas = 雨伞 伞; knife/knives = 刀; key/keys = 钥匙",
    "台 部": "computer/computers = 电脑 计算机; camera/cameras = 照相机 相机; phone/phones = 手机 电话",
    "件": "shirt/shirts = 衬衫; coat/coats = 外套 大衣; gift/gifts = 礼物",
    "顶": "hat/hats = 帽子",
    "个": "bag/bags = 包; cup/cups = 杯子; clock/clocks = 钟 时钟",
}
ANIMALS = {
    "只": "cat/cats = 猫; bird/birds = 鸟 小鸟; rabbit/rabbits = 兔子; duck/ducks = 鸭子; monkey/monkeys = "
    "猴子",
    "条 只": "dog/dogs = 狗",
    "匹": "horse/horses = 马",
    "头": "cow/cows = 牛; elephant/elephants = 大象; pig/pigs = 猪",
}

# base/third person/past/-ing = verb. Stative verbs are said in the present only.
VERBS = {
    "PERSON": "meet/meets/met/meeting = 见 遇见; help/helps/helped/helping = 帮助 帮; "
    "visit/visits/visited/visiting = 拜访 看望; call/calls/called/calling = 叫 喊; "
    "invite/invites/invited/inviting = 邀请 请",
    "WRITING": "write/writes/wrote/writing = 写; borrow/borrows/borrowed/borrowing = 借; "
    "copy/copies/copied/copying = 抄 抄写; send/sends/sent/sending = 寄 发; "
    "translate/translates/translated/translating = 翻译 译",
    "FOOD": "eat/eats/ate/eating = 吃; cook/cooks/cooked/cooking = 做 煮; taste/tastes/tasted/tasting "
    "= 尝 品尝",
    "THING": "buy/buys/bought/buying = 买 购买; sell/sells/sold/selling = 卖; find/finds/found/finding "
    "= 找到 发现; wash/washes/washed/washing = 洗; repair/repairs/repaired/repairing = 修 修理; "
    "use/uses/used/using = 用 使用",
    "ANIMAL": "see/sees/saw/seeing = 看见 看到; feed/feeds/fed/feeding = 喂; draw/draws/drew/drawing = "
    "画; chase/chases/chased/chasing = 追 追赶",
}
STATIVE_VERBS = "like/likes = 喜欢; love/loves = 爱 热爱; need/needs = 需要; remember/remembers = 记得; miss/misses = 想念 想"
INTRANSITIVE_VERBS = (
    "work/works/worked/working = 工作 干活; sleep/sleeps/slept/sleeping = 睡觉; swim/swims/swam/swimming "
    "= 游泳; dance/dances/danced/dancing = 跳舞; sing/sings/sang/singing = 唱歌; "
    "study/studies/studied/studying = 学习 读书; wait/waits/waited/waiting = 等 等待; "
    "play/plays/played/playing = 玩 玩耍; cry/cries/cried/crying = 哭; laugh/laughs/laughed/laughing = "
    "笑"
)
SAYING = "says = 说; thinks = 认为 觉得; knows = 知道; believes = 相信; hopes = 希望"

THING_ADJECTIVES = (
    "new = 新 新的; big = 大 大的; small = 小 小的; red = 红色的 红; white = 白色的 白; black = 黑色的 黑; "
    "old = 旧的 旧; beautiful = 漂亮的 美丽的; expensive = 昂贵的 贵的; cheap = 便宜的; "
    "interesting = 有趣的 有意思的; ugly = 难看的 丑"
)
PERSON_ADJECTIVES = (
    "young = 年轻的; kind = 善良的 好心的; clever = 聪明的; honest = 诚实的; little = 小"
)
THING_STATES = "good = 好; expensive = 贵; cheap = 便宜; beautiful = 漂亮 美丽; clean = 干净; dirty = 脏; ugly = 难看 丑"
PERSON_STATES = (
    "happy = 高兴 开心 快乐; tired = 累 疲倦; busy = 忙; sad = 难过 伤心; angry = 生气; hungry = 饿; "
    "thirsty = 渴; ill = 不舒服"
)
COMPARATIVES = (
    "taller = 高; older = 大 年长; younger = 年轻; stronger = 强壮 壮; faster = 快; smarter = 聪明"
)

PLACES = (
    "at home = 在家 在家里; at school = 在学校 在学校里; in the park = 在公园 在公园里; in Beijing = 在北京; "
    "in the garden = 在花园里; in Shanghai = 在上海; at the station = 在车站; in the kitchen = 在厨房 在厨房里; "
    "in the office = 在办公室 在办公室里; by the river = 在河边; in London = 在伦敦"
)
NUMBERS = (
    "three = 三 3; four = 四 4; five = 五 5; six = 六 6; seven = 七 7; eight = 八 8; nine = 九 9"
)
TENS = "twenty = 二十; thirty = 三十; forty = 四十"
UNITS = "three = 三; four = 四; five = 五; six = 六; seven = 七; eight = 八; nine = 九"
PAST_DAYS = (
    "yesterday = 昨天; last week = 上周 上个星期; last night = 昨晚 昨天晚上; this morning = 今天早上 今早; "
    "last year = 去年"
)
FUTURE_DAYS = "tomorrow = 明天; next week = 下周 下个星期; tonight = 今晚 今天晚上; next year = 明年; soon = 很快 马上"
FREQUENCIES = "often = 经常 常常; always = 总是 老是; sometimes = 有时 有时候; usually = 通常 平时; never = 从不 从来不"
